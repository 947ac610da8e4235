"""Which snapshot serves: loading, checking and warming the next one beside it, and going back.

A new version is loaded, verified, compiled and run in a thread of the background; requests go on
meanwhile. It takes the place of the current one by one assignment on the event loop. Whatever is
wrong with it, the current one goes on, and `degraded` says so. Beside the current snapshot at most
one more is in memory: the one that is being loaded, or the last one, kept for a rollback.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from serving.engine import BUCKETS, Engine
from serving.process import Pace, give_back_memory, lower_this_thread
from serving.stats import Stats
from serving.warm_up import WarmUp
from silverjax.snapshot import load_snapshot, versions
from silverjax.snapshot_errors import NoSnapshotError, SnapshotError

log = logging.getLogger(__name__)

T = TypeVar("T")


def open_newest(
    path: str | os.PathLike[str],
    *,
    buckets: Sequence[int] = BUCKETS,
    k: int | None = None,
    traces: bool = False,
) -> tuple[Engine, str | None]:
    """The newest version that can serve, given the folder of all versions or one version.

    Returns:
        The engine, and what was wrong with newer versions (`None` if nothing).
    Raises:
        SnapshotError: No version can serve; says what is wrong with the newest.
        ValueError: `buckets` or `k` is out of range.
    """
    wrong: SnapshotError | None = None
    for version in reversed(versions(path) or [Path(path)]):
        try:
            engine = Engine(load_snapshot(version), buckets=buckets, k=k, traces=traces)
        except SnapshotError as error:
            log.error("snapshot %s was refused: %s", version.name, error)
            wrong = wrong or error
        else:
            return engine, _refused(versions(path)[-1].name, wrong) if wrong else None
    assert wrong is not None
    raise wrong


class Versions:
    """The current snapshot and its predecessor.

    Args:
        engine: To begin with.
        stats: Where swaps are counted.
        degraded: What is wrong from the start.

    Attributes:
        engine: Answers new requests.
        degraded: Why the newest version does not serve; `None` if it does.
    """

    def __init__(self, engine: Engine, stats: Stats, degraded: str | None = None) -> None:
        self.engine = engine
        self.degraded = degraded
        self._stats = stats
        self._spare: Engine | None = None
        self._back: Path | None = None  # what a rollback goes to
        root = engine.snapshot.path.parent
        self._newest = _number(versions(root)[-1]) if versions(root) else 0
        self._root = root
        self._one_at_a_time = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, "silverjax-snapshots", initializer=lower_this_thread)

    @property
    def previous(self) -> str | None:
        """The version that a rollback would go to."""
        return self._back.name if self._back else None

    async def warm(self) -> WarmUp:
        """Runs the programs of the current version, and says how long a batch of each takes."""
        await self._in_background(self.engine.warm)
        measured = await self._in_background(self.engine.measure)
        log.info("warm: %s", measured)
        return measured

    async def swap(self, path: str | os.PathLike[str]) -> str:
        """Puts another version in place of the current one, and returns its name.

        Args:
            path: A version's own directory, or the folder of all (the newest is taken).
        Raises:
            SnapshotError: It cannot serve; the current one goes on.
        """
        async with self._one_at_a_time:
            wanted = Path(path)
            try:
                engine = await self._in_background(lambda: self._built(wanted))
            except Exception as error:  # whatever it is: what serves must go on
                log.error("snapshot %s was refused: %s", wanted.name, error)
                self._stats.refused_swaps += 1
                self.degraded = _refused(wanted.name, error)
                if isinstance(error, SnapshotError):
                    raise
                raise SnapshotError(f"snapshot {wanted.name} cannot serve: {error}") from error
            self._put(engine)
            self.degraded = None
            return engine.version

    async def rollback(self) -> str:
        """Puts the previous version back in place; a second rollback undoes the first.

        Raises:
            NoSnapshotError: There was no other version before.
            SnapshotError: It is no longer in memory and cannot be loaded again.
        """
        if self._back is None:
            raise NoSnapshotError(
                f"version {self.engine.version} is the first that this process serves: there is "
                "nothing to go back to. Name a version to swap to instead."
            )
        async with self._one_at_a_time:
            if self._spare is not None:
                self._put(self._spare)
                return self.engine.version
        return await self.swap(self._back)

    async def watch(self, every_s: float) -> None:
        """Swaps to every newer version that is published beside the current one; runs for ever.

        A version that was refused, or rolled back from, is not tried again.
        """
        while True:
            await asyncio.sleep(every_s)
            try:
                found = await self._in_background(lambda: versions(self._root))
                if found and _number(found[-1]) > self._newest:
                    self._newest = _number(found[-1])
                    await self.swap(found[-1])
            except SnapshotError:
                continue  # `swap` has said so
            except OSError as error:
                log.error("cannot look for new snapshots: %s", error)
                self.degraded = f"cannot look for new snapshots: {type(error).__name__}"

    async def close(self) -> None:
        """Ends the thread of the background, after what it is doing."""
        await asyncio.get_running_loop().run_in_executor(None, self._worker.shutdown)

    def _built(self, path: Path) -> Engine:
        self._spare = None  # here, since freeing a large catalogue takes its time
        current, pause = self.engine, Pace()
        engine = Engine(
            load_snapshot(path, like=current.snapshot, pause=pause),
            buckets=current.buckets,
            k=current.k,
            like=current,
            traces=current.traces,
        )
        # Programs that were taken over are warm; a bad snapshot shows in any one of them. Nothing
        # is timed: requests are being answered meanwhile, and should new programs take another
        # time than those before, their own batches say so.
        engine.warm(engine.buckets if engine.compiled else engine.buckets[:1])
        give_back_memory()
        return engine

    def _put(self, engine: Engine) -> None:
        log.info("snapshot %s takes the place of %s", engine.version, self.engine.version)
        self._spare, self._back = self.engine, self.engine.snapshot.path
        self.engine = engine
        self._stats.swaps += 1

    async def _in_background(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)


def _number(version: Path) -> int:
    return int(version.name)


def _refused(name: str, error: Exception) -> str:
    return f"snapshot {name} was refused ({type(error).__name__}); the log says why"
