"""How long each stage takes: programs that stop after one stage more each time."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from serving.engine import Engine
from serving.query import Query
from silverjax.retriever import Request, Retriever


@dataclasses.dataclass(frozen=True)
class StageTimes:
    """Median milliseconds of one batch.

    Attributes:
        batch: Requests in the batch.
        stages: By stage; each is the difference of two programs, so the sum is the whole.
        total: The whole, compiled as one function.
    """

    batch: int
    stages: dict[str, float]
    total: float


def stage_times(engine: Engine, queries: list[Query], *, repeats: int = 20) -> StageTimes:
    """Times the stages for one batch of queries; filters as the queries have them."""
    size = len(queries)
    retriever, variables = engine.retriever, engine.snapshot.variables
    start = time.perf_counter()
    request = jax.device_put(engine.request(queries, size))
    batching = 1e3 * (time.perf_counter() - start)

    def until(stage: int) -> Callable[[Any, Request], Any]:
        return jax.jit(functools.partial(retriever.apply, method=_PREFIXES[stage]))

    ends = [_median_ms(until(stage), variables, request, repeats) for stage in range(3)]
    ends.append(_median_ms(jax.jit(retriever.apply), variables, request, repeats))
    # The machine's noise can make a longer program look faster than a shorter one.
    rising = np.maximum.accumulate(ends)
    names = ["2 towers", "3-5 probe, filter, int8 search", "6 OverArch", "7 Value Model"]
    steps = np.diff(rising, prepend=0.0).tolist()
    return StageTimes(
        size, {"1 batch (host)": batching, **dict(zip(names, steps))}, float(rising[-1])
    )


def _towers(retriever: Retriever, request: Request) -> Any:
    return retriever.embed_users(request.users)


def _search(retriever: Retriever, request: Request) -> Any:
    user = _towers(retriever, request)
    return user, retriever.candidates(user, request)


def _over_arch(retriever: Retriever, request: Request) -> Any:
    user, found = _search(retriever, request)
    return retriever.logits(user, request, found)


_PREFIXES = (_towers, _search, _over_arch)


def _median_ms(
    program: Callable[[Any, Request], Any], variables: Any, request: Request, repeats: int
) -> float:
    jax.block_until_ready(program(variables, request))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(program(variables, request))
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))
