from __future__ import annotations

import numpy as np
import pytest

from silverjax import bloom_filter
from silverjax.bloom_filter import bloom_rows, false_positive_rate, pack_rows

DIGESTS = np.random.default_rng(0).integers(0, 2**32, (60_000, 4), dtype=np.uint32)


@pytest.mark.parametrize(("bits", "hashes"), [(32, 1), (32, 4), (96, 3), (4_096, 16)])
def test_bits_are_equally_likely_at_every_place(bits: int, hashes: int) -> None:
    rows = bloom_rows(DIGESTS, bits, hashes)
    assert rows.shape == (len(DIGESTS), hashes)
    for place in range(hashes):
        counts = np.bincount(rows[:, place], minlength=bits)
        assert len(counts) == bits
        expected = len(DIGESTS) / bits
        # Seven standard deviations, so that no bit of any case is out by chance.
        assert np.abs(counts - expected).max() < 7 * np.sqrt(expected)


def test_a_pair_of_bits_says_nothing_of_the_next() -> None:
    drawn = bloom_rows(DIGESTS, 32, 3) // 8  # 4 x 4 x 4 cells
    counts = np.bincount(drawn @ np.array([16, 4, 1]), minlength=64)
    expected = len(DIGESTS) / 64
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


@pytest.mark.parametrize(("bits", "hashes"), [(32, 4), (32, 2), (64, 3)])
@pytest.mark.parametrize("terms", [1, 3, 6])
def test_false_positives_are_what_the_formula_says(bits: int, hashes: int, terms: int) -> None:
    rows = bloom_rows(DIGESTS, bits, hashes)
    signatures = np.zeros((10_000, bits), bool)
    for place in range(terms):
        own = rows[10_000 * (place % 5) :][:10_000]
        np.put_along_axis(signatures, np.roll(own, 17 * place, axis=0), True, axis=1)
    asked = rows[50_000:]
    hits = trials = 0
    for shift in range(100):
        these = np.roll(asked, shift, axis=0)
        hits += int(np.take_along_axis(signatures, these, axis=1).all(axis=1).sum())
        trials += len(these)
    expected = false_positive_rate(terms, bits, hashes)
    # A fifth of the rate, or what chance does to counts as small as these.
    assert abs(hits / trials - expected) < max(0.2 * expected, 6 * np.sqrt(expected / trials))


def test_no_terms_have_no_false_positives() -> None:
    assert false_positive_rate(0, 64, 4) == 0.0
    assert false_positive_rate(10_000, 32, 4) == pytest.approx(1.0)


@pytest.mark.parametrize("flags", [1, 2_000, 1 << 28])  # a cluster, some, and all at a time
def test_packed_rows_hold_the_bits_that_were_set(
    flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bloom_filter, "_FLAGS", flags)
    rng = np.random.default_rng(0)
    slots = rng.permutation(7 * 40)[:200]
    parts = [(rng.integers(0, 200, 300), rng.integers(0, 6, 300)) for _ in range(3)]
    words = pack_rows(slots, parts, clusters=7, slots_per_cluster=40, rows=6)
    assert words.shape == (6, 7, 2)
    expected = {
        (slots[i], row) for items, rows in parts for i, row in zip(items, rows, strict=True)
    }
    bits = np.unpackbits(words.view(np.uint8), axis=2, bitorder="little")
    row, cluster, position = np.nonzero(bits)
    assert set(zip(cluster * 40 + position, row, strict=True)) == expected
