from __future__ import annotations

import io
import pathlib

import numpy as np
import pytest
from matplotlib import image
from rich.console import Console

from experiments.search.report import Figure, headline, lead, plot_frontier, print_figures
from experiments.search.systems import OURS
from experiments.search.tuning import Tuner
from tests.experiments.search.toys import CORPUS, toy

FIGURES = [
    Figure.of(Tuner(CORPUS).at(toy(method, per_hit=1, most=20), 9), 0.9, batch, np.array(speeds))
    for method, batch, speeds in (
        (OURS, 1, [1_000.0, 3_000.0, 9_000.0]),
        ("a", 1, [1_000.0, 1_500.0, 1_600.0]),
        ("b", 1, [500.0, 400.0, 300.0]),
        (OURS, 32, [600.0, 600.0, 600.0]),
        ("a", 32, [1_200.0, 1_200.0, 1_200.0]),
        ("b", 32, [300.0, 300.0, 300.0]),
    )
]


def test_figure_is_the_median_of_the_rounds() -> None:
    ours = FIGURES[0]
    assert (ours.low, ours.queries_per_second, ours.high) == (2_000.0, 3_000.0, 6_000.0)
    assert ours.recall == pytest.approx(0.9)
    assert ours.setting == "1 a hit, 9 effort"


def test_lead_is_over_the_best_peer() -> None:
    assert lead(FIGURES, 0.9, 1) == pytest.approx(2.0)
    assert lead(FIGURES, 0.9, 32) == pytest.approx(0.5)
    assert lead(FIGURES[:1], 0.9, 1) is None


def test_table_names_who_missed_the_recall() -> None:
    shown = io.StringIO()
    figures = [*FIGURES, Figure.missed("c", 0.9, 0.812)]
    print_figures(figures, (1, 32), "toy", 1, Console(file=shown, width=100))
    text = shown.getvalue()
    assert "toy, 1 thread, recall 0.9" in text
    assert "not reached: 0.812" in text
    assert "2.00" in text
    assert "0.50" in text


def test_frontier_has_a_panel_for_each_batch(tmp_path: pathlib.Path) -> None:
    one = plot_frontier(tmp_path / "one.png", FIGURES[:3], title="toy")
    two = plot_frontier(tmp_path / "two.png", FIGURES, title="toy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]
    assert image.imread(two).shape[1] > 1.5 * image.imread(one).shape[1]


def test_headline_gives_speed_and_lead_of_every_batch() -> None:
    figures = [*FIGURES, Figure.missed(OURS, 0.99, 0.98)]
    assert list(headline(figures, (1, 32), "toy", 2).items()) == [
        ("search of toy, 2 threads, recall 0.90: queries per second at batch 1 / 32",
         "3,000 / 600; 2.0 / 0.5 x the best peer"),
        ("search of toy, 2 threads, recall 0.99: queries per second at batch 1 / 32",
         "- / -; - / - x the best peer"),
    ]  # fmt: skip
