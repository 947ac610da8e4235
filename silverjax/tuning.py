"""How many clusters to probe, and how wide a Bloom signature to keep: measured, not guessed.

Recall is measured against brute force over the float32 embeddings, for user embeddings of the
model's own; latency is that of the whole compiled function, from features to ranked items.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pallas_kernels.bloom_probe.api import BLOCK
from silverjax.ann_search import search
from silverjax.bloom_filter import false_positive_rate
from silverjax.filter_plan import compile_filters
from silverjax.item_index import ItemIndex
from silverjax.metrics import index_loss
from silverjax.retriever import Request, Retriever
from silverjax.snapshot import Snapshot
from silverjax.tuned import Goal
from silverjax.value_model import make_weights

_STEP = math.sqrt(2.0)  # from one number of clusters on the frontier to the next
_PART = 64  # queries that brute force scores at once
_WIDEST = 4_096  # bits, the limit of IndexConfig
_ENOUGH = 0.01  # false positives: the exact check then has next to nothing to do


@dataclasses.dataclass(frozen=True)
class Point:
    """One number of clusters.

    Attributes:
        probes: Clusters visited first.
        recall: Mean share of the exact best candidates that the search found.
        latency_ms: Median milliseconds of one batch, the whole function.
    """

    probes: int
    recall: float
    latency_ms: float


@dataclasses.dataclass(frozen=True)
class Signature:
    """A width of the Bloom signature.

    Attributes:
        bits: Bits per item.
        index_bytes: Of the whole index at that width, without its cache of embeddings.
        false_positives: Chance that an item seems to have a term of the signature, by the formula.
    """

    bits: int
    index_bytes: int
    false_positives: float


def sample_queries(snapshot: Snapshot, *, count: int, seed: int) -> Float[np.ndarray, "n dim"]:
    """Embeddings of `count` users of the snapshot drawn at random, or of all if there are fewer."""
    users = len(snapshot.catalogue.user_ids)
    if not users:
        raise ValueError("the snapshot has no users to ask for; tuning needs their embeddings")
    rows = np.random.default_rng(seed).permutation(users)[:count]
    retriever = Retriever(snapshot.schema, snapshot.config)
    asked = snapshot.catalogue.users_at(rows.tolist())
    state = jax.jit(retriever.apply, static_argnames="method")(
        snapshot.variables, asked, method="embed_users"
    )
    return np.asarray(state.embedding)  # type: ignore[union-attr]


class RecallCurve:
    """Recall of the search by the number of clusters; each number is measured once.

    Args:
        index: With the float32 embeddings that the model keeps.
        queries: User embeddings.
        k: Candidates that the search hands on.
    """

    def __init__(self, index: ItemIndex, queries: Float[np.ndarray, "n dim"], *, k: int) -> None:
        if index.cache is None:
            raise ValueError(
                "the index keeps no embeddings to compare with; build it with "
                "IndexConfig(keep_embeddings=True)"
            )
        self.index, self.k = index, min(k, int(index.live_items))
        self.least = math.ceil(self.k / index.slots_per_cluster)
        self._queries = queries
        self._exact = exact_rows(index, queries, k=self.k)
        self._known: dict[int, float] = {}

    def at(self, probes: int) -> float:
        """Recall where `probes` clusters are visited."""
        if probes not in self._known:
            found = search(self.index, self._queries, k=self.k, probes=probes).rows
            self._known[probes] = 1.0 - float(jnp.mean(index_loss(found, self._exact)))
        return self._known[probes]

    def ladder(self) -> list[int]:
        """Numbers of clusters from the fewest to all, each about 1.4 times the one before."""
        steps = [self.least]
        while steps[-1] < self.index.clusters:
            steps.append(min(self.index.clusters, max(steps[-1] + 1, round(steps[-1] * _STEP))))
        return steps

    def fewest(self, target: float) -> int:
        """The fewest clusters that reach `target`, by bisection.

        Raises:
            ValueError: All clusters together do not reach it: int8 has cost too much.
        """
        if (best := self.at(self.index.clusters)) < target:
            raise ValueError(
                f"recall {target} is out of reach: all {self.index.clusters} clusters together "
                f"reach {best:.4f}, since the codes are int8; ask for less"
            )
        low, high = self.least - 1, self.index.clusters
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(middle) < target else (low, middle)
        return high


def exact_rows(
    index: ItemIndex, queries: Float[np.ndarray, "n dim"], *, k: int
) -> Int[Array, "n k"]:
    """Catalogue rows of the `k` largest inner products, by brute force in float32."""
    assert index.cache is not None
    embeddings = index.cache.embeddings
    free = index.slots < 0

    def best(part: Array) -> Array:
        scores = jnp.matmul(part, embeddings.T, precision="highest")
        return jax.lax.top_k(jnp.where(free, -jnp.inf, scores), k)[1]

    parts = [best(jnp.asarray(queries[at : at + _PART])) for at in range(0, len(queries), _PART)]
    return jnp.concatenate(parts)


def latencies_ms(
    snapshot: Snapshot,
    probes: Sequence[int],
    *,
    batch: int,
    repeats: int = 30,
    told: Callable[[str], None] = lambda _: None,
) -> list[float]:
    """Median milliseconds of the whole compiled function for each number of clusters.

    They take turns, so that what else the machine does hits all of them. The host's part,
    parsing filters and looking ids up, is the same for all and is not in it.
    """
    request = _plain_request(snapshot, batch)
    programs = []
    for count in probes:
        told(f"compiling the search of {count} clusters")
        sizes = dataclasses.replace(snapshot.config.search, probes=count)
        config = dataclasses.replace(snapshot.config, search=sizes)
        program = jax.jit(Retriever(snapshot.schema, config).apply)
        jax.block_until_ready(program(snapshot.variables, request))
        programs.append(program)
    took: list[list[float]] = [[] for _ in programs]
    told("timing")
    for _ in range(repeats):
        for program, times in zip(programs, took, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(program(snapshot.variables, request))
            times.append(1e3 * (time.perf_counter() - start))
    return [float(np.median(times)) for times in took]


def _plain_request(snapshot: Snapshot, batch: int) -> Request:
    """A batch of the first users, without filters."""
    catalogue, tasks = snapshot.catalogue, snapshot.schema.tasks
    weights = make_weights({tasks[0]: 1.0}, tasks)
    request = Request(
        users=catalogue.users_at([row % len(catalogue.user_ids) for row in range(batch)]),
        weights=jax.tree.map(lambda row: jnp.repeat(row, batch, axis=0), weights),
        plan=compile_filters(snapshot.variables["index"]["items"], [""] * batch),
    )
    return jax.device_put(request)


def frontier(
    snapshot: Snapshot,
    curve: RecallCurve,
    goal: Goal,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> tuple[Point, list[Point]]:
    """The point of the fewest clusters that reaches the recall, and all points, by probes.

    Raises:
        ValueError: No number of clusters reaches it.
    """
    chosen = curve.fewest(goal.recall)
    probes = sorted({*curve.ladder(), chosen})
    took = latencies_ms(snapshot, probes, batch=goal.batch, told=told)
    points = [Point(count, curve.at(count), ms) for count, ms in zip(probes, took, strict=True)]
    return points[probes.index(chosen)], points


def check_latency(chosen: Point, points: Sequence[Point], *, limit_ms: float) -> None:
    """Raises ValueError where the chosen point is too slow, with the best recall that is not."""
    if chosen.latency_ms <= limit_ms:
        return
    within = [point for point in points if point.latency_ms <= limit_ms]
    best = max(within, key=lambda point: point.recall, default=None)
    reach = (
        f"the best within it is recall {best.recall:.4f} with {best.probes} clusters"
        if best
        else f"even the fewest clusters take {min(p.latency_ms for p in points):.2f} ms"
    )
    raise ValueError(
        f"recall {chosen.recall:.4f} takes {chosen.latency_ms:.2f} ms ({chosen.probes} clusters), "
        f"over the limit of {limit_ms} ms; {reach}. Allow more time or ask for less recall"
    )


def signature(index: ItemIndex, bits: int) -> Signature:
    """What a width would cost, and how often it would be wrong, on this index's own terms."""
    sizes = index.nbytes()
    fixed = sum(size for name, size in sizes.items() if not name.startswith("cache"))
    per_bit = index.clusters * index.words.shape[2] * index.words.dtype.itemsize
    terms = _signature_terms(index)
    wrong = [false_positive_rate(n, bits, index.hashes) for n in range(terms.max() + 1)]
    return Signature(
        bits,
        fixed + (bits - index.bloom_bits) * per_bit,
        float(np.mean(np.asarray(wrong)[terms])),
    )


def wanted_signature(index: ItemIndex, memory_mib: float | None) -> Signature | None:
    """The narrowest width with at most 1 % false positives, or the widest that fits the memory.

    Without a limit of memory it is the width the index has; None where the index has no filter
    features, and so no signature.

    Raises:
        ValueError: Not even the narrowest signature fits.
    """
    if not index.features:
        return None
    if memory_mib is None:
        return signature(index, index.bloom_bits)
    best = signature(index, BLOCK)
    if best.index_bytes > memory_mib * 2**20:
        raise ValueError(
            f"with the narrowest signature ({BLOCK} bits) the index has "
            f"{best.index_bytes / 2**20:.2f} MiB, over the limit of {memory_mib} MiB; allow more "
            "memory, or build with fewer IndexConfig.columns"
        )
    for bits in range(2 * BLOCK, _WIDEST + 1, BLOCK):
        wider = signature(index, bits)
        if best.false_positives <= _ENOUGH or wider.index_bytes > memory_mib * 2**20:
            break
        best = wider
    return best


def _signature_terms(index: ItemIndex) -> Int[np.ndarray, "items"]:
    """How many terms of each live item are in the signature."""
    terms, spans = np.asarray(index.terms), np.asarray(index.spans)
    in_signature = (terms >= 0) & (np.asarray(index.column_of_term)[np.maximum(terms, 0)] == 0)
    before = np.concatenate([[0], np.cumsum(in_signature)])
    starts, lengths = spans[np.asarray(index.rows) >= 0].T
    return before[starts + lengths] - before[starts]
