"""`python -m experiments`: the benchmarks of this machine, one after the other.

The studies of quality take longer and are run by name: `python -m experiments.quality`.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    ["experiments.index_scale"],
    ["experiments.int8_recall"],
    ["experiments.search_bench"],
    ["experiments.services_study"],
)


def main() -> int:
    """Runs each in a process of its own, so that peak memory is its own; stops at a failure."""
    for command in BENCHMARKS:
        status = subprocess.call([sys.executable, "-m", *command])
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
