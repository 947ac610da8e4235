from __future__ import annotations

import pathlib

import numpy as np
import pytest

from tests.training.datasets.small_files import write
from training.datasets import DataError, load

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)
USERS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{i}" for i in range(18))
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag"
)


def impression(user: int, video: int, time: int, click: int, like: int, long: int) -> str:
    return f"{user},{video},20220408,1600,{time},{click},{like},0,0,0,0,{long},900,9000,0,0,0,0,1"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    first = [
        impression(0, 5, 1649408076860, 1, 1, 1),
        impression(0, 6, 1649408070000, 0, 0, 0),
        impression(1, 5, 1649408075000, 1, 0, 0),
    ]
    write(tmp_path, "log_standard_4_08_to_4_21_pure.csv", [LOG, *first])
    second = [impression(1, 7, 1650408075000, 1, 0, 1)]
    write(tmp_path, "log_standard_4_22_to_5_08_pure.csv", [LOG, *second])
    write(tmp_path, "log_random_4_22_to_5_08_pure.csv", [LOG, impression(2, 8, 1, 1, 1, 1)])
    groups = ",".join(["3"] * 17 + [""])
    users = [f"0,full_active,0,0,1,5,'(0,10]',0,0,0,0,9,8-14,{groups}".replace("'", '"')]
    write(tmp_path, "user_features_pure.csv", [USERS, *users])
    videos = [
        '5,100,NORMAL,2022-04-08,ShortImport,0.0,20000.0,720.0,1280.0,77.0,9.0,"12,65"',
        "6,100,AD,2022-04-08,Web,0.0,,720.0,1280.0,78.0,4.0,12",
        "999,101,NORMAL,2022-04-08,Web,0.0,1000.0,720.0,1280.0,79.0,9.0,",
    ]
    write(tmp_path, "video_features_basic_pure.csv", [VIDEOS, *videos])
    return tmp_path


def test_clicks_of_the_standard_logs_are_the_interactions(folder: pathlib.Path) -> None:
    data = load(folder)
    seen = data.interactions
    assert data.schema.tasks == (
        "click",
        "long_view",
        "like",
        "follow",
        "comment",
        "forward",
        "hate",
    )
    assert data.user_ids[seen.user].tolist() == ["1", "0", "1"]
    assert data.item_ids[seen.item].tolist() == ["5", "5", "7"]
    assert seen.time.tolist() == [1649408075, 1649408076, 1650408075]
    assert seen.labels[:, 1].tolist() == [0, 1, 1]
    assert seen.labels[:, 2].tolist() == [0, 1, 0]
    assert np.isnan(seen.value).all()


def test_only_videos_of_the_logs_are_items(folder: pathlib.Path) -> None:
    data = load(folder)
    assert data.item_ids.tolist() == ["5", "6", "7"]
    assert data.attributes["tag"] == [["12", "65"], ["12"], []]
    assert data.attributes["author"] == [["100"], ["100"], []]
    assert data.attributes["video_type"] == [["normal"], ["ad"], []]
    assert data.attributes["music_type"] == [["9"], ["4"], []]
    assert data.item_features["author"].tolist() == [1, 1, 0]
    assert data.item_features["music"].tolist() == [0, 0, 0]  # each heard once
    assert np.isfinite(data.item_features["duration"]).all()


def test_user_features(folder: pathlib.Path) -> None:
    data = load(folder)
    assert data.user_vocabularies["user_active_degree"] == ("", "full_active")
    assert data.user_features["user_active_degree"].tolist() == [1, 0]
    assert data.user_features["onehot_feat0"].tolist() == [1, 0]
    assert data.user_features["onehot_feat17"].tolist() == [0, 0]


def test_other_engagement_and_tasks(folder: pathlib.Path) -> None:
    data = load(folder, keep="long_view>=1", tasks=["viewed=*", "like=is_like>=1"])
    assert data.schema.tasks == ("viewed", "like")
    assert len(data.interactions) == 2


def test_rejects_a_log_without_its_columns(folder: pathlib.Path) -> None:
    write(folder, "log_standard_4_08_to_4_21_pure.csv", ["user_id,video_id,time_ms", "1,2,3"])
    with pytest.raises(DataError, match=r"pure.csv, line 1: no column is_click, is_like"):
        load(folder)


def test_features_are_optional(folder: pathlib.Path) -> None:
    for path in [*folder.glob("user*"), *folder.glob("video*")]:
        path.unlink()
    data = load(folder)
    assert data.schema.user_features == data.schema.item_features == ()
