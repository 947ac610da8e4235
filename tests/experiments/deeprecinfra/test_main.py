"""The study from end to end on two schedulers, and what its report makes of given figures."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from experiments.deeprecinfra import study
from experiments.deeprecinfra.__main__ import Study, check, main
from experiments.deeprecinfra.profiles import save
from experiments.deeprecinfra.report import headline, markdown, summary
from experiments.deeprecinfra.study import Cell
from tests.experiments.deeprecinfra.test_profiles import PROFILE


def cell(scheduler: str, model: str, qps: float, accelerator: str = "", spent: int = 1) -> Cell:
    return Cell(model, "low", accelerator, scheduler, qps, spent, 0.1, {"batch": 25}, 100.0)


CELLS = [
    cell("static", "ncf", 10.0),
    cell("static", "wnd", 20.0),
    cell("DeepRecSched, published", "ncf", 20.0, spent=1000),
    cell("DeepRecSched, published", "wnd", 40.0, spent=4000),
    cell("ours", "ncf", 40.0),
    cell("ours", "wnd", 36.0),
    cell("ours", "ncf", 80.0, "1080ti"),
    cell("ours", "wnd", 0.0, "1080ti"),
]


def test_means_are_geometric_and_over_the_static_scheduler_on_cores() -> None:
    found = {(line.scheduler, line.accelerator): line for line in summary(CELLS)}
    published, ours = found["DeepRecSched, published", ""], found["ours", ""]
    assert published.over_static == pytest.approx(2.0)
    assert published.spent == pytest.approx(2000)
    assert ours.over_static == pytest.approx((4.0 * 1.8) ** 0.5)
    assert ours.of_published == pytest.approx((2.0 * 0.9) ** 0.5)
    assert ours.least_of_published == pytest.approx(0.9)
    assert ours.of_oracle is None
    beside = found["ours", "1080ti"]
    assert (beside.over_static, beside.carried, beside.models) == (0.0, 1, 2)
    assert beside.ceiling == pytest.approx(100 / 200**0.5)
    fast = [dataclasses.replace(one, qps=80.0) if one.accelerator else one for one in CELLS]
    found = {(line.scheduler, line.accelerator): line for line in summary(fast)}
    faster = found["ours", "1080ti"]
    assert faster.over_static == pytest.approx(2 * faster.per_watt) == pytest.approx(80 / 200**0.5)


def test_the_report_names_every_rate_and_every_source() -> None:
    text = markdown(CELLS, {"ncf on a core": "published: somewhere"}, title="Schedulers")
    assert "| ours | 2.68 | 2/2 | 1.34 | 0.90 | - | 1 | 2.68 |" in text
    assert "(paper 1.74, ceiling 7.07, 3.54 times DeepRecSched, published)" in text
    assert "| ncf | low | 1080ti | - | - | 80 |" in text
    assert "- ncf on a core: published: somewhere" in text
    assert any("2.68; 1.34 x DeepRecSched" in one for one in headline(summary(CELLS), "s").values())


def test_a_run_writes_its_files_and_the_next_one_reuses_its_cells(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    asked = Study(
        models=("ncf",), levels=("low",), schedulers=("static", "ours"), accelerator="",
        folder=tmp_path / "results",
    )  # fmt: skip
    first = main(asked)
    assert [c.scheduler for c in first] == ["static", "ours"]
    assert first[1].qps > first[0].qps > 0
    document = json.loads((tmp_path / "results" / "deeprecinfra-main-skylake.json").read_text())
    assert len(document["figures"]["cells"]) == 2
    assert document["headline"]
    for suffix in ("png", "md"):
        assert (tmp_path / "results" / f"deeprecinfra-main-skylake.{suffix}").stat().st_size > 100
    monkeypatch.setattr(study, "measure", lambda *_, **__: pytest.fail("measured again"))
    assert main(asked) == first


def test_quick_is_two_models_at_one_target() -> None:
    quick = check(Study(quick=True))
    assert (quick.models, quick.levels) == (("wnd", "rmc1"), ("medium",))


def test_schedulers_that_do_not_exist_are_rejected() -> None:
    with pytest.raises(ValueError, match="schedulers .'fifo'. do not exist; there are static"):
        check(Study(schedulers=("static", "fifo")))
    with pytest.raises(ValueError, match="must include 'static'"):
        check(Study(schedulers=("ours",)))


def test_a_model_without_a_measured_profile_is_rejected() -> None:
    with pytest.raises(ValueError, match="'din' has no measured profile; there are ncf"):
        list(
            study.situations(
                ("ncf", "din"), ("low",), cpu="", accelerator="", measured={"ncf": PROFILE}
            )
        )


def test_a_target_that_measured_cores_cannot_meet_is_rejected(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "slow.json"
    save(path, [PROFILE])  # a second and more for every batch
    asked = Study(models=("ncf",), levels=("low",), profiles=path, cores=4, folder=tmp_path)
    with pytest.raises(ValueError, match="no setting of ncf on measured-4 meets its target of 2.5"):
        main(asked)
