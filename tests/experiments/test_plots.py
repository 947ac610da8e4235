from __future__ import annotations

import pathlib

from matplotlib import image

from experiments.plots import plot_quality
from silverjax.metrics import mean_and_interval


def test_plot_draws_a_bar_for_every_method(tmp_path: pathlib.Path) -> None:
    estimates = {
        "popularity": {"recall@20": mean_and_interval([0.1]), "ndcg@20": mean_and_interval([0.05])},
        "SilverJAX": {
            "recall@20": mean_and_interval([0.2, 0.22, 0.21]),
            "ndcg@20": mean_and_interval([0.1, 0.12, 0.11]),
        },
    }
    path = plot_quality(
        tmp_path / "out" / "quality.png", estimates, ["recall@20", "ndcg@20"],
        title="Toy data", ours=["SilverJAX"],
    )  # fmt: skip
    pixels = image.imread(path)
    assert [p.name for p in path.parent.iterdir()] == ["quality.png"]
    ours = (abs(pixels[..., :3] - [0x2A / 255, 0x7F / 255, 0x9E / 255]) < 0.02).all(axis=2)
    grey = (abs(pixels[..., :3] - [0x9A / 255, 0xA5 / 255, 0xB1 / 255]) < 0.02).all(axis=2)
    # Twice the value, twice the bar.
    assert 1.9 < ours.sum() / grey.sum() < 2.3
