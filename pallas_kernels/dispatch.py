"""Picks a backend for an op on a platform, or says why none fits.

A backend is a module with a function named after the op and `why_not(platform)`, which returns
what stops it there (or None). It raises `NotImplementedError` for a call it cannot serve (the
next one is tried) and `ValueError` for a call that is wrong (the caller hears of it).
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax

ENVIRONMENT_VARIABLE = "PALLAS_KERNELS_BACKEND"


@dataclasses.dataclass(frozen=True)
class Backend:
    """One implementation of an op.

    Attributes:
        name: What `backend=` and the environment variable call it.
        module: Where it lives; imported when it is first considered.
        default_on: Platforms where it was measured and so may be picked unasked.
    """

    name: str
    module: str
    default_on: tuple[str, ...] = ()

    def load(self) -> ModuleType:
        """Imports the module; NotImplementedError where this JAX lacks what it needs."""
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            raise NotImplementedError(f"JAX {jax.__version__} cannot import it: {error}") from error

    def why_not(self, platform: str) -> str | None:
        """What stops this backend on `platform`, or None."""
        try:
            reason: str | None = self.load().why_not(platform)
        except NotImplementedError as error:
            return str(error)
        return reason


@dataclasses.dataclass(frozen=True)
class Op:
    """A name and its backends, the one worth trying first in front.

    Attributes:
        auxiliary: A step within other ops: a backend that is asked for by a name it does not
            know is meant for those, and it takes its default.
    """

    name: str
    backends: tuple[Backend, ...]
    auxiliary: bool = False

    def __call__(self, *args: Any, backend: str | None = None, **kwargs: Any) -> Any:
        """Runs the first backend that serves this call on the platform in use.

        Args:
            backend: The one to use and no other; None asks `PALLAS_KERNELS_BACKEND`, then the
                defaults of the platform. Under `jax.jit` it is settled when the call is traced.

        Raises:
            NotImplementedError: The forced backend (or every default) cannot serve.
            ValueError: No backend has this name, or the call itself is wrong.
        """
        platform = current_platform()
        forced = backend or os.environ.get(ENVIRONMENT_VARIABLE) or None
        reasons = []
        for candidate in self._candidates(platform, forced):
            try:
                reason = candidate.why_not(platform)
                if reason is None:
                    run: Callable[..., Any] = getattr(candidate.load(), self.name)
                    return run(*args, **kwargs)
            except NotImplementedError as error:
                reason = str(error)
            reasons.append(f"{candidate.name} cannot serve {self.name} on {platform!r}: {reason}")
        raise NotImplementedError("; ".join([*reasons, self._advice(platform, forced)]))

    def _candidates(self, platform: str, forced: str | None) -> list[Backend]:
        known = any(b.name == forced for b in self.backends)
        if forced is None or (self.auxiliary and not known):
            return [b for b in self.backends if platform in b.default_on or "*" in b.default_on]
        found = [b for b in self.backends if b.name == forced]
        if not found:
            names = ", ".join(b.name for b in self.backends)
            raise ValueError(
                f"backend {forced!r} is unknown to {self.name}, which has: {names}; pass one of "
                f"them as backend= or unset {ENVIRONMENT_VARIABLE}"
            )
        return found

    def _advice(self, platform: str, forced: str | None) -> str:
        serving = [b.name for b in self.backends if b.why_not(platform) is None]
        others = ", ".join(name for name in serving if name != forced) or "none"
        return f"backends that run on {platform!r}: {others}; pass one as backend= or leave it out"


def auxiliary(name: str) -> Op:
    """A step within searches, with a backend in C++ and the specification.

    Whoever asks for a backend asks for that of a search; this step serves all of them.
    """
    folder = f"pallas_kernels.{name}"
    backends = (
        Backend("cpu", f"{folder}.cpu", default_on=("cpu",)),
        Backend("reference", f"{folder}.reference", default_on=("*",)),
    )
    return Op(name, backends, auxiliary=True)


@dataclasses.dataclass(frozen=True)
class BackendStatus:
    """One row of `backend_report`."""

    op: str
    backend: str
    serves: bool
    default: bool
    note: str

    def __str__(self) -> str:
        answer = "yes" if self.serves else "no"
        return f"{self.op:<15} {self.backend:<14} {answer:<4} {self.note}"


def current_platform() -> str:
    """Platform that new computations go to: "cpu", "gpu", "tpu".

    Follows `jax.default_device`. Arguments committed elsewhere are not seen (a traced array has
    no device yet): wrap the call in `jax.default_device` or pass `backend=`.
    """
    device: Any = getattr(jax.config, "jax_default_device")  # noqa: B009 (absent from its stubs)
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else str(device.platform)


def status(op: Op, *, platform: str | None = None) -> list[BackendStatus]:
    """Each backend of `op` in order of preference: whether it serves on `platform`, and why not."""
    platform = platform or current_platform()
    rows: list[BackendStatus] = []
    for backend in op.backends:
        reason = backend.why_not(platform)
        default = platform in backend.default_on or "*" in backend.default_on
        note = "opt-in: never measured here, pass backend= to use it"
        if default:
            first = not any(row.default and row.serves for row in rows)
            note = "default" if first else "default where those above cannot serve a call"
        rows.append(BackendStatus(op.name, backend.name, reason is None, default, reason or note))
    return rows
