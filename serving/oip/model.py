"""The recommender as a model of the protocol: its tensors, and queries made from them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.answered import Answered
from serving.engine import Engine
from serving.oip.infer import InferAnswer, InferRequest, Signature
from serving.oip.tensors import DATATYPES, Tensor, TensorError, TensorSpec
from serving.problems import Refused
from serving.query import Query
from serving.service import Service

NAME = "recommend"
PLATFORM = "silverjax"
EXTENSIONS = ("binary_tensor_data", "statistics", "model_configuration", "model_repository")

# Numbers of Triton's enum DataType.
_DATA_TYPES = dict.fromkeys(DATATYPES, 0) | {"BOOL": 1, "INT32": 8, "FP32": 11, "BYTES": 13}
_DATA_TYPE_NAMES = {"BYTES": "TYPE_STRING"}


class OipModel:
    """Answers inference requests with a service.

    Inputs, for n rows: BYTES `user` [n] (empty: somebody unknown), and if wanted BYTES `where`
    [n], BYTES `weights` [n], BYTES `exclude` [n, m] (empty: nothing), INT32 `k` [1].
    Outputs: BYTES `item` [n, k], FP32 `score` [n, k], FP32 `probabilities` [n, k, tasks], INT32
    `count` [n], FP32 `coverage` [n], BOOL `cold_start` [n]. Past the first `count` places of a
    row, `item` is empty and the numbers are 0.
    """

    def __init__(self, service: Service, *, default_k: int = 10) -> None:
        self.service = service
        self._default_k = default_k

    @property
    def engine(self) -> Engine:
        return self.service.versions.engine

    @property
    def default_k(self) -> int:
        """Items that a request gets that does not say how many."""
        return min(self._default_k, self.engine.sizes.k)

    @property
    def signature(self) -> Signature:
        """Of the current snapshot."""
        sizes, tasks = self.engine.sizes, self.engine.snapshot.schema.tasks
        return _signature(self.service.config.capacity_rows, sizes.k, sizes.excluded, len(tasks))

    def check_name(self, name: str, version: str | None = None) -> None:
        """Raises `Refused` (404) unless this is the model, in the version that serves."""
        if name != NAME:
            raise Refused(404, f"no model {name[:60]!r}; there is {NAME!r}")
        if version and version != self.service.version:
            raise Refused(
                404, f"version {version[:60]!r} does not serve; {self.service.version!r} does"
            )

    async def infer(
        self, request: InferRequest, *, remaining: float | None = None
    ) -> tuple[InferAnswer, Answered]:
        """Answers one request.

        Args:
            remaining: Seconds until the transport gives up, if it does.
        Raises:
            TensorError: Tensors that do not fit one another, or text that is not UTF-8.
        """
        queries = self._queries(request)
        lowest, highest = self.service.config.priorities
        if request.priority > highest - lowest + 1:
            raise TensorError(
                f"parameter priority={request.priority} must be from 1 (most urgent) to "
                f"{highest - lowest + 1}, or 0 for the default"
            )
        timeouts = [given for given in (request.timeout, remaining) if given is not None]
        longest = self.service.config.longest_timeout_s
        answered = await self.service.answer(
            queries,
            timeout=min(*timeouts, longest) if timeouts else None,
            priority=1 + highest - request.priority if request.priority else 0,
        )
        tensors = _outputs(answered, queries[0].k)
        return InferAnswer(
            model=NAME,
            version=answered.version,
            outputs=tuple(tensors[name] for name in request.outputs),
            id=request.id,
            parameters={"snapshot_version": answered.version},
        ), answered

    def metadata(self) -> dict[str, Any]:
        """Names, types and shapes; -1 is any size."""
        signature = self.signature
        return {
            "name": NAME,
            "versions": [self.service.version],
            "platform": PLATFORM,
            "inputs": [_described(spec) for spec in signature.inputs.values()],
            "outputs": [_described(spec) for spec in signature.outputs.values()],
        }

    def config(self, *, enum_names: bool) -> dict[str, Any]:
        """Triton's model configuration.

        Args:
            enum_names: Types as JSON has them (`TYPE_INT32`), not as protobuf has (8).
        """
        lowest, highest = self.service.config.priorities

        def tensor(spec: TensorSpec) -> dict[str, Any]:
            kind: Any = _DATA_TYPES[spec.datatype]
            if enum_names:
                kind = _DATA_TYPE_NAMES.get(spec.datatype, f"TYPE_{spec.datatype}")
            described = {"name": spec.name, "data_type": kind, "dims": list(spec.shape)}
            return described | ({"optional": True} if spec.optional else {})

        signature = self.signature
        return {
            "name": NAME,
            "platform": PLATFORM,
            "backend": PLATFORM,
            # 0: shapes are given whole, with the axis of the batch. `k` has none.
            "max_batch_size": 0,
            "input": [tensor(spec) for spec in signature.inputs.values()],
            "output": [tensor(spec) for spec in signature.outputs.values()],
            "dynamic_batching": {
                "preferred_batch_size": list(self.engine.buckets),
                "priority_levels": highest - lowest + 1,
                "default_priority_level": highest + 1,
            },
        }

    def index(self) -> list[dict[str, str]]:
        """The models of this server, as the repository extension lists them."""
        state = "READY" if self.service.ready else "UNAVAILABLE"
        reason = self.service.degraded or ""
        return [{"name": NAME, "version": self.service.version, "state": state, "reason": reason}]

    def _queries(self, request: InferRequest) -> list[Query]:
        inputs = request.inputs
        rows = inputs["user"].shape[0]
        if rows == 0:
            raise TensorError("tensor 'user' has shape [0]; ask for one row at least")
        for tensor in inputs.values():
            if tensor.name != "k" and tensor.shape[0] != rows:
                raise TensorError(
                    f"tensor {tensor.name!r} has {tensor.shape[0]} rows, 'user' has {rows}; "
                    "the first axes must agree"
                )
        k = int(np.asarray(inputs["k"].values)[0]) if "k" in inputs else self.default_k
        nothing = [""] * rows
        where = _texts(inputs["where"]) if "where" in inputs else nothing
        weights = _texts(inputs["weights"]) if "weights" in inputs else nothing
        exclude: Sequence[tuple[str, ...]] = [()] * rows
        if "exclude" in inputs:
            names, width = _texts(inputs["exclude"]), inputs["exclude"].shape[1]
            exclude = [
                tuple(name for name in names[at * width : (at + 1) * width] if name)
                for at in range(rows)
            ]
        columns = zip(_texts(inputs["user"]), where, weights, exclude)
        return [
            Query(
                user=user or None,
                where=text,
                weights=weight,
                exclude=excluded,
                k=k,
                allow_unknown=True,
            )
            for user, text, weight, excluded in columns
        ]


@functools.lru_cache(maxsize=4)
def _signature(rows: int, k: int, excluded: int, tasks: int) -> Signature:
    inputs = (
        TensorSpec("user", "BYTES", (-1,), (rows,)),
        TensorSpec("where", "BYTES", (-1,), (rows,), optional=True),
        TensorSpec("weights", "BYTES", (-1,), (rows,), optional=True),
        TensorSpec("exclude", "BYTES", (-1, -1), (rows, excluded), optional=True),
        TensorSpec("k", "INT32", (1,), optional=True),
    )
    outputs = (
        TensorSpec("item", "BYTES", (-1, -1), (rows, k)),
        TensorSpec("score", "FP32", (-1, -1), (rows, k)),
        TensorSpec("probabilities", "FP32", (-1, -1, tasks), (rows, k, tasks)),
        TensorSpec("count", "INT32", (-1,), (rows,)),
        TensorSpec("coverage", "FP32", (-1,), (rows,)),
        TensorSpec("cold_start", "BOOL", (-1,), (rows,)),
    )
    return Signature({spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs})


def _outputs(answered: Answered, k: int) -> dict[str, Tensor]:
    answer = answered.arrays
    found = np.asarray(answer.rows)[:, :k]
    items, is_item = answered.names.item_ids, found >= 0
    names = [items[row].encode() if row >= 0 else b"" for row in found.ravel().tolist()]
    columns: dict[str, np.ndarray] = {
        "score": np.where(is_item, np.asarray(answer.scores)[:, :k], np.float32(0)),
        "probabilities": np.where(
            is_item[..., None], np.asarray(answer.probabilities)[:, :k], np.float32(0)
        ),
        "count": is_item.sum(axis=1, dtype=np.int32),
        "coverage": np.asarray(answer.coverage, np.float32),
        "cold_start": answered.rows.fields["user"] < 0,
    }
    datatypes = {"count": "INT32", "cold_start": "BOOL"}
    tensors = {
        name: Tensor(name, datatypes.get(name, "FP32"), values.shape, values)
        for name, values in columns.items()
    }
    return {"item": Tensor("item", "BYTES", found.shape, names), **tensors}


def _texts(tensor: Tensor) -> list[str]:
    values: Any = tensor.values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise TensorError(f"tensor {tensor.name!r} has an element that is not UTF-8") from None


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
