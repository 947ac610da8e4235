"""KuaiRand: short videos with several kinds of feedback (click, like, follow, long view, ...).

Source and columns: https://kuairand.com, Gao et al., CIKM 2022 (arXiv 2208.08696). One row of a
log is one impression; most are not clicked.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from training.datasets.build import Feedback, build_dataset, read_feedback
from training.datasets.dataset import Dataset
from training.datasets.encode import Encoded, categorical, multi, numeric, slug
from training.datasets.errors import DataError
from training.datasets.tables import IdTable, Table, read_header, read_table
from training.datasets.tasks import parse_condition

# Rules over the columns of the log; the rows themselves are chosen by `keep`.
TASKS = (
    "click=*",
    "long_view=long_view>=1",
    "like=is_like>=1",
    "follow=is_follow>=1",
    "comment=is_comment>=1",
    "forward=is_forward>=1",
    "hate=is_hate>=1",
)
_SIGNALS = (
    "is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view",
    "play_time_ms", "duration_ms", "is_profile_enter", "is_rand", "tab",
)  # fmt: skip
_USER_GROUPS = (
    "user_active_degree", "is_live_streamer", "is_video_author", "follow_user_num_range",
    "fans_user_num_range", "friend_user_num_range", "register_days_range",
)  # fmt: skip


def looks_like(folder: pathlib.Path) -> bool:
    """Whether `folder` holds a standard log of KuaiRand."""
    return any(folder.glob("log_standard*.csv"))


def load(
    folder: pathlib.Path,
    *,
    tasks: str | Sequence[str] | None = None,
    keep: str | None = "is_click>=1",
) -> Dataset:
    """Loads all standard logs of a folder, with user features and basic video features.

    Args:
        tasks: Rules over the log's columns; None takes TASKS.
        keep: Which impressions count as interactions; None keeps them all, and then the first
            task means "was shown", so give `tasks` too.
    Returns:
        Only the videos that the logs show: the feature file lists millions that nobody met.
    Raises:
        DataError: A file or column is missing, or damaged.
    """
    users, items = IdTable(), IdTable()
    feedback = _logs(folder, users, items)
    if keep is not None:
        feedback = feedback.where(parse_condition(keep))
    user_features = _user_features(_features(folder, "user_features", "user_id"), users)
    videos = _features(folder, "video_features_basic", "video_id")
    item_features, attributes = _video_features(videos, items)
    return build_dataset(
        folder.resolve().name,
        users=users,
        items=items,
        titles=[f"video {item}" for item in items.ids()],  # the data set has no titles
        user_features=user_features,
        item_features=item_features,
        attributes=attributes,
        feedback=feedback,
        tasks=TASKS if tasks is None else tasks,
        engagement="click",
        rating=None,
    )


def _logs(folder: pathlib.Path, users: IdTable, items: IdTable) -> Feedback:
    paths = sorted(folder.glob("log_standard*.csv"))
    if not paths:
        raise DataError(f"{folder}: no log_standard*.csv; is this KuaiRand's data folder?")
    parts = []
    for path in paths:
        names = read_header(path, delimiter=",")
        needed = ("user_id", "video_id", "time_ms", *_SIGNALS)
        _need(path, names, needed)
        parts.append(
            read_feedback(
                path,
                names,
                users=users,
                items=items,
                user="user_id",
                item="video_id",
                numbers=needed[2:],
                delimiter=",",
                header=True,
            )
        )
    columns = {n: np.concatenate([p.columns[n] for p in parts]) for n in parts[0].columns}
    columns["timestamp"] = columns.pop("time_ms") // 1000
    return Feedback(
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.item for part in parts]),
        columns,
    )


def _need(path: pathlib.Path, names: Sequence[str], needed: Sequence[str]) -> None:
    absent = [name for name in needed if name not in names]
    if absent:
        raise DataError(f"{path}, line 1: no column {', '.join(absent)}; found {', '.join(names)}.")


def _features(folder: pathlib.Path, stem: str, key: str) -> Table | None:
    paths = sorted(folder.glob(f"{stem}*.csv"))
    if not paths:
        return None
    names = read_header(paths[0], delimiter=",")
    _need(paths[0], names, (key,))
    return read_table(paths[0], names, delimiter=",", header=True, quoted=True)


def _places(table: Table, key: str, ids: IdTable) -> np.ndarray:
    """int64 [ids]: the record of each id, -1 where the table has none."""
    places = np.full(len(ids), -1)
    for record, token in enumerate(table.text(key)):
        row = ids.find(token)
        if row >= 0:
            places[row] = record
    return places


def _picked(table: Table, column: str, places: np.ndarray) -> list[str]:
    cells = table.text(column)
    return [_whole(cells[place]) if place >= 0 else "" for place in places]


def _whole(cell: str) -> str:
    """Writes 9.0 as 9: the files store codes of columns with gaps as floats."""
    return cell[:-2] if cell.endswith(".0") and cell[:-2].isdigit() else cell


def _user_features(table: Table | None, users: IdTable) -> list[Encoded]:
    if table is None:
        return []
    places = _places(table, "user_id", users)
    onehot = [name for name in table.names if name.startswith("onehot_feat")]
    return [
        categorical(name, _picked(table, name, places))
        for name in (*_USER_GROUPS, *onehot)
        if name in table
    ]


def _video_features(
    table: Table | None, items: IdTable
) -> tuple[list[Encoded], dict[str, list[list[str]]]]:
    if table is None:
        return [], {}
    places = _places(table, "video_id", items)
    features: list[Encoded] = []
    attributes: dict[str, list[list[str]]] = {}
    if "tag" in table:
        tags = [[t for t in cell.split(",") if t] for cell in _picked(table, "tag", places)]
        features.append(multi("tag", tags))
        attributes["tag"] = tags
    for name, column, least in (
        ("author", "author_id", 2),  # an author of one video says no more than the video's id
        ("music", "music_id", 2),
        ("video_type", "video_type", 1),
        ("upload_type", "upload_type", 1),
        ("music_type", "music_type", 1),
    ):
        if column in table:
            cells = [slug(cell) for cell in _picked(table, column, places)]
            features.append(categorical(name, cells, min_count=least))
            attributes[name] = [[cell] if cell else [] for cell in cells]
    if "video_duration" in table:
        seconds = table.numbers("video_duration", missing=True) / 1000
        found = np.where(places >= 0, seconds[places], np.nan)
        features.append(numeric("duration", np.log1p(found)))  # spans seconds to hours
    return features, attributes
