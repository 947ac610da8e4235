"""Our side: batch, compile the filters, call one program."""

from __future__ import annotations

import collections
import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.services_study.requests import Ask, form
from experiments.services_study.study import Study
from experiments.services_study.tower import users_of
from silverjax.ann_search import Candidates, search
from silverjax.filter_plan import compile_filters
from silverjax.retriever import Answer, Request, Retriever
from silverjax.towers import UserState
from silverjax.value_model import ValueWeights

LEAVES = 32
SEARCH = "3-5 probe, filter, int8 search"
STAGES = ("1 batch (host)", "2 towers", SEARCH, "6 OverArch", "7 Value Model")


class OneFunction:
    """The `Retriever` of a model and its index.

    Args:
        study: Sizes.
        variables: Parameters and index.
    """

    def __init__(self, study: Study, variables: Any) -> None:
        self._study, self._variables = study, variables
        self._index = variables["index"]["items"]

    def compile(self, probes: int, asked: float, like: Sequence[Ask]) -> None:
        """Compiles the one program ahead of time, for batches as large as `like`."""
        apply = Retriever(
            self._study.schema(), self._study.config(probes=probes, asked=asked)
        ).apply
        lowered = jax.jit(apply).lower(self._variables, self.request(like))
        self._program: Any = lowered.compile()
        methods = (_embedded, _searched, _scored)
        self._prefixes = [jax.jit(functools.partial(apply, method=method)) for method in methods]

    def request(self, asks: Sequence[Ask]) -> Request:
        """Stage 1, on the host."""
        batch = form(asks, self._study)
        weights = batch.arrays["weights"]
        return Request(
            users=users_of(batch.arrays),
            weights=ValueWeights(weights, np.zeros_like(weights)),  # type: ignore[arg-type]
            plan=compile_filters(self._index, batch.filters, max_leaves=LEAVES),
            exclude=batch.arrays["history"],  # type: ignore[arg-type]
        )

    def answers(self, batches: Sequence[Sequence[Ask]], *, in_flight: int) -> list[Answer]:
        """Answers as NumPy arrays; forms a batch while up to `in_flight` earlier ones compute."""
        running: collections.deque[Answer] = collections.deque()
        done: list[Answer] = []
        for asks in batches:
            running.append(self._program(self._variables, self.request(asks)))
            if len(running) >= in_flight:
                done.append(jax.tree.map(np.asarray, running.popleft()))
        return done + [jax.tree.map(np.asarray, answer) for answer in running]

    def parts(self, asks: Sequence[Ask]) -> tuple[UserState, Candidates]:
        """What stages 2 and 3 to 5 give."""
        return self._prefixes[1](self._variables, self.request(asks))  # type: ignore[no-any-return]

    def embeddings(self, batches: Sequence[Sequence[Ask]]) -> list[np.ndarray]:
        """What stage 2 makes of the users of each batch."""
        retriever = Retriever(self._study.schema(), self._study.config())
        program: Any = jax.jit(functools.partial(retriever.apply, method=_embedded))
        return [
            np.asarray(program(self._variables, self.request(asks)).embedding) for asks in batches
        ]

    def rows_at(
        self, probes: int, asked: float, asks: Sequence[Ask], queries: np.ndarray
    ) -> np.ndarray:
        """Candidates that so many probes find for user embeddings, where so much is asked for."""
        request, k = self.request(asks), self._study.candidates
        found = search(
            *(self._index, queries, request.plan),
            k=k,
            probes=probes,
            filtered_recall=asked,
            exclude=request.exclude,
        )
        return np.asarray(found.rows)

    def stage_times(self, batches: Sequence[Sequence[Ask]], *, repeats: int) -> dict[str, float]:
        """Median milliseconds of each stage: programs that stop after one stage more each time.

        The programs take turns, so that what else the machine does hits all of them.
        """
        programs = [*self._prefixes, self._program]
        took: list[list[float]] = [[] for _ in STAGES]
        for turn in range(-1, repeats):  # the first turn compiles
            for asks in batches:
                start = time.perf_counter()
                request = self.request(asks)
                ends = [1e3 * (time.perf_counter() - start)]
                request = jax.device_put(request)
                for program in programs:
                    start = time.perf_counter()
                    jax.block_until_ready(program(self._variables, request))
                    ends.append(1e3 * (time.perf_counter() - start))
                if turn >= 0:
                    for times, end in zip(took, ends):
                        times.append(end)
        medians = [float(np.median(times)) for times in took]
        # Noise can make a longer program look faster than a shorter one.
        steps = np.diff(np.maximum.accumulate(medians[1:]), prepend=0.0).tolist()
        return dict(zip(STAGES, [medians[0], *steps]))


def _embedded(retriever: Retriever, request: Request) -> UserState:
    return retriever.embed_users(request.users)


def _searched(retriever: Retriever, request: Request) -> tuple[UserState, Candidates]:
    user = _embedded(retriever, request)
    return user, retriever.candidates(user, request)


def _scored(retriever: Retriever, request: Request) -> Any:
    user, found = _searched(retriever, request)
    return found, retriever.logits(user, request, found)
