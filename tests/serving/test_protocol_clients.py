"""Triton's own clients against a real server: HTTP and gRPC, JSON and binary."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from serving.engine import Engine
from serving.query import Query, Reply
from tests.serving.running import command

USERS = ["u3", "u7", "nobody", ""]
WHERE = ["genre:1", "", "NOT genre:2", "genre:1 OR genre:4"]
EXCLUDE = [["i1", ""], ["i5", "i9"], ["", ""], ["i1", "i2"]]


@pytest.fixture(scope="module")
def urls(snapshots: Path) -> Iterator[dict[str, str]]:
    with command(snapshots / "00000001", "--timeout-ms=30000") as (process, ready):
        yield {"http": ready["http"].removeprefix("http://"), "grpc": ready["grpc"]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.fixture(scope="module", params=["http", "grpc"])
def client(request: pytest.FixtureRequest, urls: dict[str, str]) -> Iterator[Any]:
    module: Any = {"http": triton_http, "grpc": triton_grpc}[request.param]
    made = module.InferenceServerClient(urls[request.param])
    yield made
    made.close()


def make_inputs(module: Any, *, k: int = 5, **how: Any) -> list[Any]:
    def tensor(name: str, values: Any, datatype: str = "BYTES") -> Any:
        array = np.array(values, np.object_ if datatype == "BYTES" else np.int32)
        made = module.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, **how)
        return made

    return [
        tensor("user", USERS),
        tensor("where", WHERE),
        tensor("weights", ["liked=1,disliked=-0.5"] * 4),
        tensor("exclude", EXCLUDE),
        tensor("k", [k], "INT32"),
    ]


def expected(engine: Engine, k: int = 5) -> list[Reply]:
    queries = [
        Query(
            user=user or None,
            where=where,
            weights="liked=1,disliked=-0.5",
            exclude=tuple(filter(None, exclude)),
            k=k,
            allow_unknown=True,
        )
        for user, where, exclude in zip(USERS, WHERE, EXCLUDE)
    ]
    return engine.recommend(queries)


def text(values: Any) -> list[str]:
    """Binary answers hold bytes, JSON ones text."""
    return [value if isinstance(value, str) else value.decode() for value in values]


def check(result: Any, replies: list[Reply]) -> None:
    count = result.as_numpy("count")
    for row, reply in enumerate(replies):
        n = int(count[row])
        assert n == len(reply.items)
        assert text(result.as_numpy("item")[row, :n]) == [item.item for item in reply.items]
        np.testing.assert_allclose(
            result.as_numpy("score")[row, :n], [item.value for item in reply.items], rtol=1e-4
        )
        np.testing.assert_allclose(
            result.as_numpy("probabilities")[row, :n],
            np.reshape([list(item.probabilities.values()) for item in reply.items], (n, 3)),
            rtol=1e-4,
        )
    np.testing.assert_allclose(result.as_numpy("coverage"), [r.coverage for r in replies])
    assert result.as_numpy("cold_start").tolist() == [False, False, True, True]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_http_answers_are_the_engines(
    urls: dict[str, str], engine: Engine, binary_in: bool, binary_out: bool
) -> None:
    inputs = make_inputs(triton_http, binary_data=binary_in)
    names = ["item", "score", "probabilities", "count", "coverage", "cold_start"]
    outputs = [triton_http.InferRequestedOutput(n, binary_data=binary_out) for n in names]
    client = triton_http.InferenceServerClient(urls["http"])
    result = client.infer("recommend", inputs, outputs=outputs, request_id="me", timeout=9_000_000)
    check(result, expected(engine))
    response = result.get_response()
    assert response["id"] == "me"
    assert response["parameters"]["snapshot_version"] == "00000001"
    client.close()


def test_grpc_answers_are_the_engines(urls: dict[str, str], engine: Engine) -> None:
    with triton_grpc.InferenceServerClient(urls["grpc"]) as client:
        result = client.infer("recommend", make_inputs(triton_grpc), request_id="me", priority=1)
    check(result, expected(engine))
    response = result.get_response()
    assert response.id == "me"
    assert response.parameters["snapshot_version"].string_param == "00000001"


def test_grpc_streams_answer_in_order_and_survive_an_error(
    urls: dict[str, str], engine: Engine
) -> None:
    answers: list[Any] = []
    with triton_grpc.InferenceServerClient(urls["grpc"]) as client:
        client.start_stream(lambda result, error: answers.append((result, error)))
        client.async_stream_infer("recommend", make_inputs(triton_grpc, k=3))
        client.async_stream_infer("recommend", make_inputs(triton_grpc, k=99))
        client.async_stream_infer("recommend", make_inputs(triton_grpc, k=5))
        client.stop_stream()
    (first, _), (_, error), (last, _) = answers
    check(first, expected(engine, 3))
    assert "k=99 must be from 1 to 7" in str(error)
    check(last, expected(engine, 5))


def test_only_the_outputs_that_are_asked_for_come(client: Any) -> None:
    module = triton_grpc if isinstance(client, triton_grpc.InferenceServerClient) else triton_http
    outputs = [module.InferRequestedOutput("count")]
    result = client.infer("recommend", make_inputs(module), outputs=outputs)
    assert result.as_numpy("count").shape == (4,)
    assert result.as_numpy("item") is None


def test_the_server_describes_itself(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("recommend")
    assert client.is_model_ready("recommend", "00000001")
    as_dict = {"as_json": True} if isinstance(client, triton_grpc.InferenceServerClient) else {}
    assert client.get_server_metadata(**as_dict)["name"] == "silverjax"
    metadata = client.get_model_metadata("recommend", **as_dict)
    assert [tensor["name"] for tensor in metadata["inputs"]] == [
        "user", "where", "weights", "exclude", "k",
    ]  # fmt: skip
    config = client.get_model_config("recommend", **as_dict)
    config = config.get("config", config)
    assert config["input"][4] == {
        "name": "k",
        "data_type": "TYPE_INT32",
        "optional": True,
        "dims": config["input"][4]["dims"],
    }
    index = client.get_model_repository_index(**as_dict)
    index = index["models"] if as_dict else index
    assert (index[0]["name"], index[0]["state"]) == ("recommend", "READY")


def test_statistics_count_what_was_answered(client: Any) -> None:
    module = triton_grpc if isinstance(client, triton_grpc.InferenceServerClient) else triton_http

    def counts() -> tuple[int, int]:
        given = client.get_inference_statistics("recommend")
        if module is triton_grpc:
            stats = given.model_stats[0]
            return stats.inference_count, stats.inference_stats.success.count
        stats = given["model_stats"][0]
        return stats["inference_count"], stats["inference_stats"]["success"]["count"]

    rows, requests = counts()
    client.infer("recommend", make_inputs(module))
    assert counts() == (rows + 4, requests + 1)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("user", {"name": "users"}, "no input 'users'; it has user, where"),
        ("k", {"name": "user"}, "datatype 'INT32'; it must be 'BYTES'"),
        ("k", {"k": 8}, "k=8 must be from 1 to 7"),
        ("k", {"k": 0}, "k=0 must be from 1 to 7"),
        ("where", {"values": ["colour:red"] * 4}, "no feature `colour` (it has: genre)"),
        ("where", {"values": ["genre:"] * 4}, "expected a value"),
        ("where", {"values": [b"\xff"] * 4}, "tensor 'where' has an element that is not UTF-8"),
        ("where", {"values": [""] * 3}, "'where' has 3 rows, 'user' has 4"),
        ("weights", {"values": ["liked=nan"] * 4}, "must be finite"),
        ("exclude", {"values": [["x"]] * 4}, "no item 'x' among the 300"),
        ("exclude", {"values": [["i1"] * 9] * 4}, "9 entries on axis 1; the limit is 8"),
        ("exclude", {"values": ["i1"] * 4}, "shape [4]; it must be [-1, -1]"),
    ],
)
def test_rejects_bad_tensors_with_a_message(
    client: Any, name: str, change: dict[str, Any], message: str
) -> None:
    module = triton_grpc if isinstance(client, triton_grpc.InferenceServerClient) else triton_http
    inputs = make_inputs(module, k=change.get("k", 5))
    if "values" in change or "name" in change:
        at = [tensor.name() for tensor in inputs].index(name)
        values = np.array(change.get("values", [5] if name == "k" else USERS), np.object_)
        datatype = "INT32" if name == "k" else "BYTES"
        values = values.astype(np.int32) if name == "k" else values
        inputs[at] = module.InferInput(change.get("name", name), list(values.shape), datatype)
        inputs[at].set_data_from_numpy(values)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("recommend", inputs)
    assert message in caught.value.message()
    assert "400" in str(caught.value.status()) or "INVALID" in str(caught.value.status())


def test_rejects_other_models_versions_priorities_and_dead_lines(client: Any) -> None:
    module = triton_grpc if isinstance(client, triton_grpc.InferenceServerClient) else triton_http
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model_name": "other"}, "no model 'other'; there is 'recommend'"),
        ({"model_version": "7"}, "version '7' does not serve; '00000001' does"),
        ({"priority": 6}, "priority=6 must be from 1 (most urgent) to 5"),
    ]
    for arguments, message in cases:
        wanted = {"model_name": "recommend", "inputs": make_inputs(module)} | arguments
        with pytest.raises(InferenceServerException) as caught:
            client.infer(**wanted)
        assert message in caught.value.message()
