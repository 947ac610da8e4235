"""Who had the machine's cores meanwhile: a pause that is the machine's is not the service's."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from experiments.awake import spun_s

_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class CpuTime:
    """Seconds of all cores together.

    Attributes:
        own: Of this process.
        others: Of all other processes of this machine, and of its kernel.
        stolen: In which the host ran something else although this machine had work (proc(5)).
        idle: In which there was nothing to do, but to keep awake; see `experiments.awake`.
    """

    own: float
    others: float
    stolen: float
    idle: float

    @classmethod
    def now(cls) -> CpuTime:
        """Since the start.

        Raises:
            OSError: There is no /proc/stat; only Linux has it.
        """
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, idle, waits, irq, softirq, stolen = (
            int(ticks) / _TICKS_S for ticks in fields[:8]
        )
        times = os.times()
        own = times.user + times.system
        spun = spun_s()
        busy = user + nice + system + irq + softirq - spun
        return cls(own=own, others=busy - own, stolen=stolen, idle=idle + waits + spun)

    def shares_since(self, before: CpuTime) -> dict[str, float]:
        """Of the cores' time since then, by who had it."""
        spent = {
            field.name: max(0.0, getattr(self, field.name) - getattr(before, field.name))
            for field in dataclasses.fields(self)
        }
        total = sum(spent.values())
        return {name: seconds / total if total else 0.0 for name, seconds in spent.items()}
