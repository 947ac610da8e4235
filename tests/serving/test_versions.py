"""Versions are swapped, refused and rolled back while requests go on."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.answered import Answered
from serving.config import ServiceConfig
from serving.engine import Engine
from serving.query import Query
from serving.service import Service
from serving.versions import open_newest
from silverjax.snapshot import load_snapshot
from silverjax.snapshot_errors import AlteredFileError, NoSnapshotError, SnapshotError
from tests.serving.test_service import same, serve
from tests.serving.versions import publish_version

USERS = [Query(user=f"u{number}", k=5) for number in range(20)]


@pytest.fixture
def root(snapshots: Path, tmp_path: Path) -> Path:
    """A copy of the folder of both versions, to publish to and to damage."""
    return shutil.copytree(snapshots, tmp_path / "snapshots")


def first(root: Path, engine: Engine) -> Engine:
    """An engine of version 00000001 of `root` with programs that are already compiled."""
    return Engine(load_snapshot(root / "00000001"), buckets=engine.buckets, like=engine)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def test_swaps_under_load_fail_nothing_and_mix_nothing(engine: Engine, snapshots: Path) -> None:
    """Clients of 1 to 20 rows go on while five swaps go back and forth."""
    other = Engine(load_snapshot(snapshots / "00000002"), buckets=engine.buckets, like=engine)
    expected = {e.version: e.recommend(USERS) for e in (engine, other)}
    assert not same(expected["00000001"], expected["00000002"])

    async def client(service: Service) -> list[Answered]:
        answers: list[Answered] = []
        swapping = True

        async def ask(rows: int) -> None:
            while swapping:
                answers.append(await service.answer(USERS[:rows]))

        clients = [asyncio.create_task(ask(rows)) for rows in (1, 1, 3, 8, 20, 20)]
        for number in range(5):
            await asyncio.sleep(0.05)
            await service.swap(snapshots / f"0000000{2 - number % 2}")
        swapping = False
        await asyncio.gather(*clients)  # a failed request would fail here
        return answers

    service, answers = serve(engine, client, timeout_s=30.0)
    assert {answered.version for answered in answers} == set(expected)
    for answered in answers:
        # All rows, also of a request that was split, are of the version that it names.
        assert same(answered.replies, expected[answered.version][: len(answered.replies)])
        assert {reply.snapshot for reply in answered.replies} == {answered.version}
    assert service.stats.swaps == 5
    assert service.stats.answered == service.stats.requests == len(answers)
    assert service.recompiles == 0


def test_at_most_one_version_beside_the_current_one_is_in_memory(
    engine: Engine, root: Path
) -> None:
    alive: list[weakref.ref[Any]] = []

    async def client(service: Service) -> None:
        for number, asked in ((2, True), (1, True), (2, True), (1, False), (2, False)):
            if asked:  # what answered last must not be kept by threads that wait for the next
                await service.answer(USERS)
            await service.swap(root / f"0000000{number}")
            variables = service.versions.engine.snapshot.variables
            alive.append(weakref.ref(variables["index"]["items"].codes))
            del variables
            assert sum(one() is not None for one in alive) <= 2

    gc.disable()  # it must not take the garbage collector to free a version
    try:
        serve(first(root, engine), client, timeout_s=30.0)
    finally:
        gc.enable()


def test_programs_are_taken_over(engine: Engine, snapshots: Path) -> None:
    loaded = load_snapshot(snapshots / "00000002")
    assert Engine(loaded, buckets=engine.buckets, like=engine).compiled == 0
    assert Engine(loaded, buckets=(1,), k=3, like=engine).compiled == 1


def test_rollback_goes_back_and_forth(engine: Engine, root: Path) -> None:
    async def client(service: Service) -> None:
        with pytest.raises(NoSnapshotError, match="nothing to go back to"):
            await service.rollback()
        await service.swap(root / "00000002")
        assert service.versions.previous == "00000001"
        for version in ("00000001", "00000002", "00000001"):
            assert await service.rollback() == service.version == version
            assert (await service.answer(USERS[:1])).version == version

    service, _ = serve(first(root, engine), client, timeout_s=30.0)
    assert service.stats.swaps == 4


def test_bad_versions_are_refused_and_the_current_one_goes_on(engine: Engine, root: Path) -> None:
    publish_version(root, 3, broken=True)
    victim = next((root / "00000002" / "arrays" / "d").iterdir())
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0")

    async def client(service: Service) -> None:
        await service.swap(publish_version(root, 4))
        assert service.version == "00000004"
        for version, kind, message in (
            ("00000002", AlteredFileError, "was altered"),
            ("00000003", SnapshotError, "not numbers"),
            ("00000009", NoSnapshotError, "no such directory"),
        ):
            with pytest.raises(kind, match=message):
                await service.swap(root / version)
            assert service.ready
            assert version in str(service.degraded)
            assert str(root) not in str(service.degraded)
            assert (await service.answer(USERS)).version == "00000004"
        # The version before was let go to make room for those, and is loaded again.
        assert await service.rollback() == "00000001"
        assert service.degraded is None

    service, _ = serve(first(root, engine), client, timeout_s=30.0)
    assert service.stats.refused_swaps == 3
    assert service.recompiles == 0


def test_watching_takes_newer_versions_and_tries_bad_ones_once(engine: Engine, root: Path) -> None:
    async def client(service: Service) -> None:
        assert service.version == "00000001"  # 2 was there before: not newer than the newest
        publish_version(root, 3)
        await until(lambda: service.version == "00000003")
        publish_version(root, 4, broken=True)
        await until(lambda: service.degraded is not None)
        await service.rollback()
        await asyncio.sleep(0.1)
        assert (service.version, service.stats.refused_swaps) == ("00000001", 1)
        publish_version(root, 5)
        await until(lambda: service.version == "00000005")
        assert service.degraded is None
        shutil.rmtree(root)  # nothing to look at is no reason to stop
        await asyncio.sleep(0.1)
        assert len((await service.answer(USERS)).replies) == 20

    serve(first(root, engine), client, timeout_s=30.0, watch_s=0.02)


def test_start_falls_back_to_the_newest_version_that_can_serve(root: Path) -> None:
    (root / "00000002" / "config.json").unlink()
    engine, degraded = open_newest(root, buckets=(1,))
    assert engine.version == "00000001"
    assert degraded is not None
    assert "00000002" in degraded

    async def run() -> None:
        service = Service(engine, ServiceConfig(), degraded=degraded)
        assert service.degraded == degraded

    asyncio.run(run())
    (root / "00000001" / "config.json").unlink()
    with pytest.raises(SnapshotError, match="00000002"):
        open_newest(root, buckets=(1,))
