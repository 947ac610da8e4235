"""Keeps the cores awake while a command runs, on a machine that is shared with others.

    python -m experiments.awake python -m experiments.climb_live

The host of a virtual machine lends a core that sleeps to somebody else, and it comes back late:
the 99th percentile of a wake-up was 22 ms so, and 0.2 ms with the cores awake. A study of latency
then measures the neighbours. This keeps a process of the lowest class on each core (SCHED_IDLE,
sched(7)), which runs only where nobody else of this machine wants to; what `idle=poll` does for a
whole system. Results made under it name it in their command. What the neighbours take of a core's
speed is left.

They stay in the session of the command. Linux gives each session the same share of a core
(CONFIG_SCHED_AUTOGROUP): in one of their own they had half of it, the lowest class or not, and a
batch of 64 took 25 ms instead of 10.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from silverjax.bad_input import complain
from silverjax.machine import usable_cores

PROCESSES = "SILVERJAX_AWAKE"  # environment variable: the ids of the processes that spin

_SPIN = """
import os, sys
parent = int(sys.argv[1])
while os.getppid() == parent:  # ends with it, however that ends
    for _ in range(100_000):
        pass
"""


def keep_awake() -> list[subprocess.Popen[bytes]]:
    """Processes that spin, one for each core of this process; they end when it does.

    Raises:
        OSError: The system knows no SCHED_IDLE; Linux does.
    """
    if not hasattr(os, "SCHED_IDLE"):
        raise OSError(f"{sys.platform} has no class SCHED_IDLE for processes; Linux has")
    processes = []
    for core in usable_cores():
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _SPIN, str(os.getpid())],
            process_group=0,  # what is typed at the command is not meant for them
        )
        processes.append(process)
        # From here, not by the process itself: its interpreter starts in the lowest class already.
        os.sched_setaffinity(process.pid, {core})
        os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    return processes


def spinning() -> list[int]:
    """The ids of the processes that keep the cores awake for this one."""
    return [int(process) for process in os.environ.get(PROCESSES, "").split()]


def spun_s() -> float:
    """Seconds of all cores together that they had so far; nobody else wanted them."""
    ticks = 0
    for process in spinning():
        with contextlib.suppress(FileNotFoundError):
            # The name, in parentheses, may hold spaces; user and system time are fields 14 and 15.
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main(command: Sequence[str]) -> int:
    """Becomes the command, so that signals and exit status are its own; 2 where there is none."""
    if not command:
        print(__doc__)
        return 2
    try:
        if not shutil.which(command[0]):
            raise FileNotFoundError(f"there is no command {command[0]!r} to run")
        ids = " ".join(str(process.pid) for process in keep_awake())
        os.execvpe(command[0], list(command), os.environ | {PROCESSES: ids})
    except OSError as error:
        return complain(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
