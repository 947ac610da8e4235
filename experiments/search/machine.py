"""What this machine could do at most: bytes copied and int8 products added up in a second."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_SOURCE = pathlib.Path(__file__).with_name("machine.cc")
_COPIED = 1 << 27  # bytes per thread: several times the last-level cache
_ROUNDS = 1 << 21
_PER_ROUND = 16 * 64 * 2  # instructions, products in each, a multiplication and an addition
_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Work:
    """What one call cannot do without.

    Attributes:
        bytes: Read from memory.
        operations: int8 multiplications and additions.
    """

    bytes: float
    operations: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """Two ceilings (Williams et al., "Roofline", CACM 2009), for a number of threads.

    Attributes:
        copy: Bytes per second that a copy reads and writes, both counted as STREAM does.
        int8: Operations per second of vpdpbusd on registers; None where the processor does not
            have it or no compiler is there.
    """

    copy: float
    int8: float | None

    def shares(self, work: Work, seconds: float) -> tuple[float, float | None]:
        """Parts of the two ceilings that a call of `seconds` reached."""
        rate = work.operations / seconds
        return work.bytes / seconds / self.copy, None if self.int8 is None else rate / self.int8


def measure(threads: int) -> Machine:
    """Measures both with as many threads; the best of a few tries, since noise only slows."""
    with ThreadPoolExecutor(threads) as pool:
        sources = [np.ones(_COPIED, np.uint8) for _ in range(threads)]
        targets = [np.zeros(_COPIED, np.uint8) for _ in range(threads)]

        def fastest(work: Callable[[int], object]) -> float:
            def once() -> float:
                start = time.perf_counter()
                list(pool.map(work, range(threads)))
                return time.perf_counter() - start

            return min(once() for _ in range(_REPEATS))

        copied = fastest(lambda i: np.copyto(targets[i], sources[i]))
        copy = 2 * threads * _COPIED / copied
        products = _int8_products()
        if products is None:
            return Machine(copy, None)
        return Machine(copy, threads * _ROUNDS * _PER_ROUND / fastest(lambda _: products(_ROUNDS)))


def _int8_products() -> Callable[[int], int] | None:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    flags = pathlib.Path("/proc/cpuinfo")
    if compiler is None or not flags.exists() or "avx512_vnni" not in flags.read_text():
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "machine.so"
        options = ["-O2", "-std=c++20", "-mavx512f", "-mavx512vnni", "-shared", "-fPIC"]
        subprocess.run([compiler, *options, str(_SOURCE), "-o", str(library)], check=True)
        products = ctypes.CDLL(str(library)).silver_int8_products
    products.argtypes, products.restype = [ctypes.c_int64], ctypes.c_int32
    found: Callable[[int], int] = products
    return found
