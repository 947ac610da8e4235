from __future__ import annotations

import pathlib

import numpy as np
import pytest

from silverjax.schema import FeatureKind
from tests.training.datasets import small_files
from training.datasets import DataError, link_repair, load


def test_rows_labels_and_order(tmp_path: pathlib.Path) -> None:
    data = load(small_files.recbole(tmp_path))
    assert data.name == "tiny"
    assert data.user_ids.tolist() == ["6", "7", "8", "9"]
    assert data.item_ids.tolist() == ["10", "20", "40", "30"]
    assert data.schema.tasks == ("watched", "liked", "disliked")
    seen = data.interactions
    assert seen.time.tolist() == [100, 200, 300, 300, 300]
    assert data.user_ids[seen.user].tolist() == ["9", "7", "7", "8", "9"]
    assert data.item_ids[seen.item].tolist() == ["20", "10", "20", "10", "30"]
    assert seen.value.tolist() == [2, 4, 5, 3, 1]
    assert seen.labels[:, 1].tolist() == [0, 1, 1, 0, 0]
    assert seen.labels[:, 2].tolist() == [1, 0, 0, 0, 1]


def test_titles_and_item_features(tmp_path: pathlib.Path) -> None:
    data = load(small_files.recbole(tmp_path))
    assert data.titles == ["The Usual Suspects (1995)", "Toy Story (1995)", "M (1931)", "30"]
    assert data.attributes["genre"] == [
        ["crime", "thriller"],
        ["animation", "childrens"],
        ["crime"],
        [],
    ]
    assert data.attributes["decade"] == [["1990s"], ["1990s"], ["1930s"], []]
    assert data.attributes["format"] == [["35_mm"], ["digital"], ["35_mm"], []]
    kinds = {f.name: f.kind for f in data.schema.item_features}
    assert kinds["genre"] is FeatureKind.MULTI
    assert kinds["decade"] is FeatureKind.CATEGORICAL
    assert kinds["year"] is FeatureKind.NUMERIC
    assert "embedding" not in kinds
    assert data.item_features["format"].tolist() == [1, 2, 1, 0]
    assert data.item_vocabularies["format"] == ("", "35_mm", "digital")


def test_user_features_of_known_and_unknown_users(tmp_path: pathlib.Path) -> None:
    data = load(small_files.recbole(tmp_path))
    ages = [data.user_vocabularies["age"][code] for code in data.user_features["age"]]
    assert ages == ["25-34", "18-24", "under-18", ""]
    genders = [data.user_vocabularies["gender"][code] for code in data.user_features["gender"]]
    assert genders == ["f", "m", "f", ""]
    np.testing.assert_allclose(data.user_features["height"], [-1, 1, 0, 0])


def test_knowledge_graph_becomes_readable_attributes(tmp_path: pathlib.Path) -> None:
    data = load(small_files.recbole(tmp_path))
    assert data.attributes["country"] == [["de", "us"], ["us"], [], []]
    assert data.attributes["director"] == [["m.nobody"], ["john_lasseter"], [], []]
    assert data.attributes["mpaa"] == [["r"], [], [], []]  # other countries' marks left out
    assert data.item_vocabularies["country"] == ("", "us", "de")
    assert data.item_features["mpaa"].tolist() == [1, 0, 0, 0]


def test_chosen_relations_become_attributes(tmp_path: pathlib.Path) -> None:
    data = load(small_files.recbole(tmp_path), relations={"followed_by": "film.film.sequel"})
    assert data.attributes["followed_by"] == [["m.b"], [], [], []]
    assert "country" not in data.attributes


def test_unknown_relation_lists_known_ones(tmp_path: pathlib.Path) -> None:
    folder = small_files.recbole(tmp_path)
    with pytest.raises(DataError, match=r"no relation 'film.hue' .*film.film.country"):
        load(folder, relations={"hue": "film.hue"})
    (folder / "tiny.kg").unlink()
    with pytest.raises(DataError, match="relations need tiny.link and tiny.kg"):
        load(folder, relations={"hue": "film.hue"})


def test_interactions_alone_are_enough(tmp_path: pathlib.Path) -> None:
    small_files.write(tmp_path, "a.inter", ["item_id:token\tuser_id:token", "x\tu", "y\tv", "x\tv"])
    data = load(tmp_path)
    assert data.schema.tasks == ("watched",)
    assert data.titles == ["x", "y"]
    assert data.schema.item_features == data.schema.user_features == ()
    assert data.interactions.time.tolist() == [0, 1, 2]  # the order in the file
    assert np.isnan(data.interactions.value).all()


def test_tasks_and_conditions_over_any_number_column(tmp_path: pathlib.Path) -> None:
    rows = ["u\tx\t1\t0.5", "u\ty\t0\t0.9", "v\tx\t1\t0.1"]
    header = "user_id:token\titem_id:token\tclick:float\twatched_share:float"
    small_files.write(tmp_path, "a.inter", [header, *rows])
    data = load(tmp_path, tasks=["clicked=*", "long=watched_share>=0.5"], keep="click>=1")
    assert data.schema.tasks == ("clicked", "long")
    assert data.interactions.labels.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tiny.inter", "user\titem\n", "'user' must be name:type"),
        ("tiny.inter", "user_id:token\trating:float\n", "no column 'item_id'"),
        ("tiny.inter", "user_id:token\titem_id:token\n", "holds no interactions"),
        ("tiny.item", "item_id:token\n1\n1\n", r"line 3: item_id '1' occurs twice"),
        ("tiny.inter", "user_id:token\titem_id:token\trating:float\n1\t2\tgood\n", "'good'"),
    ],
)
def test_rejects_broken_files(tmp_path: pathlib.Path, name: str, text: str, message: str) -> None:
    small_files.recbole(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert name in str(caught.value)


def test_two_data_sets_in_one_folder_need_a_name(tmp_path: pathlib.Path) -> None:
    small_files.recbole(tmp_path)
    small_files.write(tmp_path, "b.inter", ["user_id:token\titem_id:token", "u\tx"])
    with pytest.raises(DataError, match=r"found b.inter, tiny.inter. Choose one with name="):
        load(tmp_path)
    assert load(tmp_path, name="b").name == "b"


def test_only_the_known_wrong_link_file_is_repaired(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ml-100k.link"
    path.write_bytes(b"whatever")
    stated = {"1": "m.toy_story", "313": "m.swan_princess", "10": "m.goldeneye"}
    assert link_repair.repaired(path, stated) is stated
    digest = "85738f8f9a7f1b04b5329c590ebcb9e425925c6d0984089c43a022de4f19c281"  # of b"whatever"
    monkeypatch.setattr(link_repair, "_MISKEYED_SHA256", digest)
    mended = link_repair.repaired(path, stated)
    assert mended["1"] == "m.toy_story"
    assert mended["2"] == "m.goldeneye"  # GoldenEye is item 2 of 100K, and 10 ever after
    assert "313" not in mended  # Titanic, which the later releases number 1721
