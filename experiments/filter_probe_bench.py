"""Eligibility alone: bit rows of the index against an inverted index of roaring bitmaps.

    python -m experiments.filter_probe_bench     # 1,000,000 documents, one thread

Documents have a language, a country, one to five categories of 1,000 and a creator of 100,000;
the queries are of three kinds. `pyroaring` (extra `bench`) answers exactly; the words of the
index admit a superset, whose rate of false positives is measured against the formula. Both
answers are packed. Probe-then-filter evaluates the clusters that a search would visit, which an
inverted index cannot: it is compared with the whole answer of the other.

The CPU build of silvertorch is on no package index, so it does not take part; on a like machine
we measured 132.7 ms for 32 queries of these kinds at 15 bytes a document.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import silverjax
from experiments.command import run_command
from experiments.filter_corpus import Attributes, Condition, attributes_of, conditions
from experiments.results import FOLDER, write_result
from experiments.search.cores import use_cores
from experiments.search.rounds import calls_per_second
from pallas_kernels.bloom_probe.api import bloom_probe
from silverjax.tuning import signature


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        items: Documents.
        clusters: Clusters of the index.
        probes: Clusters that probe-then-filter evaluates for each query.
        queries: Filters, a third of each kind.
        columns: Exact bit rows.
        bloom_bits: Width of the signature; the narrowest has under 1 % false positives here.
        hashes: Bits of a term in it.
        threads: Cores; pyroaring uses one.
        rounds: Turns of each method.
        turn: Seconds of a turn.
        seed: Makes documents and queries.
    """

    items: int = 1_000_000
    clusters: int = 1_024
    probes: int = 32
    queries: int = 32
    columns: int = 63
    bloom_bits: int = 32
    hashes: int = 4
    threads: int = 1
    rounds: int = 9
    turn: float = 0.2
    seed: int = 0


class Roaring:
    """One bitmap for each term, as a search engine on the CPU would have it."""

    def __init__(self, attributes: Attributes) -> None:
        from pyroaring import BitMap

        self._bitmaps: dict[tuple[str, Any], Any] = {}
        for feature, column in attributes.items():
            lists = [value if isinstance(value, list) else [value] for value in column]
            rows = np.repeat(np.arange(len(lists)), [len(one) for one in lists]).astype(np.uint32)
            values, codes = np.unique([v for one in lists for v in one], return_inverse=True)
            order = np.argsort(codes, kind="stable")
            ends = np.cumsum(np.bincount(codes))[:-1]
            for value, part in zip(values.tolist(), np.split(rows[order], ends), strict=True):
                self._bitmaps[feature, value] = BitMap(part)
        for bitmap in self._bitmaps.values():
            bitmap.run_optimize()
            bitmap.shrink_to_fit()

    def eligible(self, condition: Condition) -> Any:
        """The documents that pass: any term of each group, and none of the last."""
        from pyroaring import BitMap

        found = None
        for group in condition.all_of:
            bitmaps = [self._bitmaps[term] for term in group]
            any_of = bitmaps[0] if len(bitmaps) == 1 else BitMap.union(*bitmaps)
            found = any_of if found is None else found & any_of
        for term in condition.none_of:
            found = found - self._bitmaps[term]
        return found

    def nbytes(self) -> int:
        return sum(len(bitmap.serialize()) for bitmap in self._bitmaps.values())


def build(study: Study, attributes: Attributes, console: Console) -> tuple[Any, Roaring, dict]:
    """Both indexes, and the seconds that each took; of ours, what the filters add to a build."""
    # The vectors only decide the order of the documents; few dimensions cluster quickly.
    points = np.random.default_rng(study.seed).normal(size=(study.items, 16)).astype(np.float32)
    config = silverjax.IndexConfig(
        clusters=study.clusters,
        columns=study.columns,
        bloom_bits=study.bloom_bits,
        hashes=study.hashes,
        iterations=2,
        seed=study.seed,
    )
    made = functools.partial(silverjax.build_index, points, config=config)
    with console.status("building both indexes"):
        made(attributes=None)  # compiled, and pages touched
        _, plain = timed(lambda: made(attributes=None))
        index, filtered = timed(lambda: made(attributes=attributes))
        roaring, theirs = timed(lambda: Roaring(attributes))
    return index, roaring, {"silverjax": filtered - plain, "pyroaring": theirs}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = jax.block_until_ready(call())
    return made, time.perf_counter() - start


def false_positives(
    index: silverjax.ItemIndex, roaring: Roaring, creators: np.ndarray, probe: Callable[..., Any]
) -> float:
    """Share of the documents without a creator that the signature says have it."""
    texts = [f"creator:{creator}" for creator in creators]
    words = np.asarray(probe(silverjax.compile_filters(index, texts)))
    admitted = np.bitwise_count(words).sum()
    held = sum(len(roaring.eligible(Condition(((("creator", int(c)),),)))) for c in creators)
    return float((admitted - held) / (len(texts) * int(index.live_items) - held))


def main(study: Study) -> None:
    use_cores(study.threads)
    console = Console()
    rng = np.random.default_rng(study.seed)
    with console.status("making the documents"):
        attributes = attributes_of(study.items, rng)
    index, roaring, seconds = build(study, attributes, console)
    asked = conditions(attributes, study.queries, rng)
    compiled = functools.partial(silverjax.compile_filters, index, [one.text for one in asked])
    plan = jax.device_put(compiled())
    near = [rng.permutation(index.clusters)[: study.probes] for _ in asked]
    probed = jax.device_put(np.stack(near).astype(np.int32))

    whole = jax.jit(lambda words, plan: bloom_probe(words, plan, None))
    some = jax.jit(bloom_probe)
    methods: Mapping[str, Callable[[], object]] = {
        "pyroaring": lambda: [roaring.eligible(one) for one in asked],
        "whole corpus": lambda: jax.block_until_ready(whole(index.words, plan.probe)),
        "probe then filter": lambda: jax.block_until_ready(some(index.words, plan.probe, probed)),
        "filters to plans": compiled,
    }
    check(index, roaring, asked, np.asarray(whole(index.words, plan.probe)))
    speeds = calls_per_second(list(methods.values()), rounds=study.rounds, turn=study.turn)
    ms = {name: 1e3 / float(np.median(own)) for name, own in zip(methods, speeds, strict=True)}
    creators = rng.choice(attributes["creator"], 256)
    measured = false_positives(
        index, roaring, creators, lambda plan: whole(index.words, jax.device_put(plan).probe)
    )
    figures = {
        "milliseconds": ms,
        "build_seconds": seconds,
        "bytes_per_document": {
            "bit rows": index.words.nbytes / study.items,
            "exact term lists": (index.terms.nbytes + index.spans.nbytes) / study.items,
            "pyroaring": roaring.nbytes() / study.items,
        },
        "false_positives": {
            "measured": measured,
            "formula": signature(index, index.bloom_bits).false_positives,
        },
    }
    show(study, figures, console)
    path = write_result(
        FOLDER / f"filter-probe-bench-{study.items}.json",
        study="experiments.filter_probe_bench",
        settings=dataclasses.asdict(study),
        figures=figures,
        headline=headline(study, figures),
    )
    console.print(f"written to {path}")


def check(
    index: silverjax.ItemIndex, roaring: Roaring, asked: list[Condition], words: np.ndarray
) -> None:
    """Raises ValueError unless the words admit all that pyroaring finds: no match may be lost."""
    rows = np.asarray(index.rows)
    for number, condition in enumerate(asked):
        bits = np.unpackbits(words[number].view(np.uint8), axis=1, bitorder="little")
        admitted = rows[bits[:, : rows.shape[1]].astype(bool)]
        if lost := len(np.setdiff1d(roaring.eligible(condition).to_array(), admitted)):
            raise ValueError(f"the words lose {lost} documents of {condition.text!r}")


def headline(study: Study, figures: Mapping[str, Any]) -> dict[str, str]:
    """One line for speed, one for size and rate."""
    ms, size, rate = (
        figures[name] for name in ("milliseconds", "bytes_per_document", "false_positives")
    )
    theirs, whole, some = ms["pyroaring"], ms["whole corpus"], ms["probe then filter"]
    return {
        f"{study.queries} filters over {study.items:,} documents: whole corpus; "
        f"{study.probes} of {study.clusters:,} clusters": (
            f"{whole:.2f} ms, {theirs / whole:.1f} x pyroaring; {some:.3f} ms, "
            f"{theirs / some:.0f} x its whole answer"
        ),
        "bit rows of these documents": (
            f"{size['bit rows']:.1f} bytes a document (pyroaring {size['pyroaring']:.1f}), false "
            f"positives {rate['measured']:.2%} a term (formula {rate['formula']:.2%})"
        ),
    }


def show(study: Study, figures: Mapping[str, Any], console: Console) -> None:
    """Prints every figure, pyroaring's speed over each of ours beside it."""
    table = Table("figure", "value", "pyroaring / this", title=f"{study.items:,} documents")
    ms = figures["milliseconds"]
    for name, took in ms.items():
        table.add_row(
            f"{study.queries} queries, {name}", f"{took:.3f} ms", f"{ms['pyroaring'] / took:.1f}"
        )
    for name, took in figures["build_seconds"].items():
        table.add_row(f"build, {name}", f"{took:.2f} s", "")
    for name, size in figures["bytes_per_document"].items():
        table.add_row(f"bytes per document, {name}", f"{size:.1f}", "")
    for name, rate in figures["false_positives"].items():
        table.add_row(f"false positives per term, {name}", f"{rate:.3%}", "")
    console.print(table)


if __name__ == "__main__":
    run_command(main, Study, __doc__)
