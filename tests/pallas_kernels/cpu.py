"""Which instruction sets of the CPU kernels can be tested here."""

from __future__ import annotations

from pallas_kernels import cpu_library


def _available() -> tuple[str, ...]:
    """Those that this CPU has; none of them where the library was not built."""
    library, problem = cpu_library.load()
    if problem:
        return ()
    return tuple(
        name for name in cpu_library.INSTRUCTIONS if library.silver_cpu_runs(name.encode())
    )


INSTRUCTIONS = _available()
