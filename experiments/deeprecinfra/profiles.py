"""How long a batch of each size takes on a device, and where that is known from."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.results import provenance
from serving.load.workload import LARGEST
from silverjax.replace_file import replace_text

_LEAST, _MOST = 16, 1_000  # what a profile must reach down and up to
_KINDS = ("published", "derived", "measured")


@dataclasses.dataclass(frozen=True)
class Profile:
    """One model on one executor: a core, or an accelerator.

    Attributes:
        model: Its name.
        device: Such as `Skylake-like core`.
        kind: `published`: read off a publication. `derived`: computed from published figures.
            `measured`: by `experiments.deeprecinfra.profile`.
        source: Which publication, which computation, or which machine.
        batches: Rows of a batch, ascending.
        seconds: Of a batch of each.
        noise: Coefficient of variation from batch to batch.
        workers: Workers at a time, ascending, that `slowdown` is known for.
        slowdown: Time of a batch while so many workers are busy, over that of one alone.
        padded: Batches run in programs compiled for `batches`, padded to the next of them.
    """

    model: str
    device: str
    kind: str
    source: str
    batches: tuple[int, ...]
    seconds: tuple[float, ...]
    noise: float = 0.0
    workers: tuple[int, ...] = (1,)
    slowdown: tuple[float, ...] = (1.0,)
    padded: bool = False

    def __post_init__(self) -> None:
        what = f"the profile of {self.model} on {self.device}"
        if self.kind not in _KINDS:
            raise ValueError(f"kind={self.kind!r} of {what} must be one of {', '.join(_KINDS)}")
        if not self.source:
            raise ValueError(f"{what} names no source; say where its times come from")
        for name, keys, values in (
            ("batches", self.batches, self.seconds),
            ("workers", self.workers, self.slowdown),
        ):
            if (
                len(keys) != len(values)
                or list(keys) != sorted(set(keys))
                or min(keys, default=0) < 1
            ):
                raise ValueError(
                    f"{what} has {len(values)} times for {name}={keys}: there must be one for "
                    "each, and they must ascend from 1 or more"
                )
        least = LARGEST if self.padded else _LEAST
        if len(self.batches) < 2 or self.batches[0] > least or self.batches[-1] < _MOST:
            raise ValueError(
                f"{what} lacks batch sizes: it has {self.batches} and must reach from "
                f"{least} or less to {_MOST} or more; measure the rest"
            )
        if self.padded and self.batches[-1] < LARGEST:
            raise ValueError(f"{what} is padded and has no program of {LARGEST} rows; add one")
        for rows, seconds in zip(self.batches, self.seconds):
            if not 0 < seconds < math.inf:
                raise ValueError(
                    f"{what} says {seconds} s for a batch of {rows}; it must be positive"
                )
        if not 0 <= self.noise < 1 or not all(0 < one < math.inf for one in self.slowdown):
            raise ValueError(
                f"{what} has noise={self.noise}, slowdown={self.slowdown}; see `Profile`"
            )

    def by_rows(self, workers: int = 1) -> Float[np.ndarray, " rows"]:
        """Seconds of a batch of 0, 1, ... 1,024 rows while `workers` are busy.

        Padded: that of the next size. Otherwise straight lines between the sizes; beyond the
        smallest and largest, the line goes on, down to half of the smallest size's time.
        """
        rows, sizes = np.arange(LARGEST + 1.0), np.asarray(self.batches, float)
        known = np.asarray(self.seconds)
        slower = float(np.interp(workers, self.workers, self.slowdown))
        if self.padded:
            return known[np.searchsorted(sizes, rows)] * slower
        seconds = np.interp(rows, sizes, known)
        first, last = np.diff(known)[[0, -1]] / np.diff(sizes)[[0, -1]]
        seconds = np.where(rows < sizes[0], known[0] + (rows - sizes[0]) * first, seconds)
        seconds = np.where(rows > sizes[-1], known[-1] + (rows - sizes[-1]) * last, seconds)
        return np.maximum(seconds, known[0] / 2) * slower


@dataclasses.dataclass(frozen=True)
class Machine:
    """What queries of one model run on.

    Attributes:
        name: Of the machine.
        cores: Workers at most; each runs one batch at a time on a core of its own.
        cpu: Of one core.
        accelerator: Of the accelerator, if there is one.
    """

    name: str
    cores: int
    cpu: Profile
    accelerator: Profile | None = None


def noise_of(samples: Sequence[np.ndarray]) -> float:
    """Spread over median of times, without the few calls that the system interrupted.

    Args:
        samples: Times of each size of batch.
    """
    spread = [np.subtract(*np.percentile(one, (75, 25))) / 1.349 for one in samples]
    return float(min(0.99, np.median(np.divide(spread, [np.median(one) for one in samples]))))


def save(path: pathlib.Path, profiles: list[Profile]) -> None:
    """Writes measured profiles with machine, versions and commit."""
    found = [dataclasses.asdict(profile) for profile in profiles]
    replace_text(path, json.dumps({**provenance(), "profiles": found}, indent=1) + "\n")


def load(path: pathlib.Path) -> dict[str, Profile]:
    """Profiles by model.

    Raises:
        ValueError: The file is not one that `save` writes, or a profile is not valid.
        FileNotFoundError: There is no such file; says how to make it.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no profiles at {path}; measure them: python -m experiments.deeprecinfra.profile"
        )
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())["profiles"]
        lists = ("batches", "seconds", "workers", "slowdown")
        profiles = [Profile(**(one | {name: tuple(one[name]) for name in lists})) for one in found]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no profiles ({error!r}); measure them again") from error
    return {profile.model: profile for profile in profiles}
