"""Profiles from published figures; nothing here was measured by us, or fitted to a result.

The medians are those that Kairos (HPDC 2023) publishes of the same models: inference and loading
of a batch, on one T4 (g4dn.xlarge) and on one c5n.2xlarge, in milliseconds. Its CPU is of the
Skylake server family, and its speed is that of one core: 0.39 ms per item of RMC2 is 100 ns per
embedding row read. So one instance is taken for one worker of DeepRecSys's 40-core Skylake.

Three models have no published times. Theirs follow from the published ones: a time per byte of
embeddings (from RMC2), per multiply-add (Wide&Deep) and per table and batch (all five). Noise
is not published; 5 % is assumed.

The 1080 Ti is the Skylake-like core divided by the ratios in DeepRecSys's own plot (read off its
repository's figures): total time, with loading, at six batch sizes.
"""

from __future__ import annotations

import numpy as np

from experiments.deeprecinfra.profiles import Machine, Profile

NOISE = 0.05
_KAIROS = "Kairos (HPDC 2023), medians of inference and load, one {}"
_BATCHES = (10, 100, 300, 500, 1000)
_T4_MS = {
    "ncf": (0.61, 0.88, 1.2, 1.6, 2.5),
    "wnd": (2.4, 3.1, 4.4, 5.9, 9.4),
    "mt-wnd": (3.6, 4.5, 6.5, 8.6, 13.7),
    "dien": (6.3, 7.9, 10.1, 12.6, 18.6),
    "rmc2": (5.4, 29.0, 81.0, 133.0, 261.0),
}
_C5N_MS = {
    "ncf": (0.30, 0.80, 1.9, 2.9, 6.4),
    "wnd": (2.0, 4.1, 10.1, 16.6, 32.6),
    "mt-wnd": (2.6, 5.5, 13.6, 22.6, 44.7),
    "dien": (2.4, 8.2, 23.1, 38.9, 77.6),
    "rmc2": (5.0, 39.0, 119.0, 197.0, 388.0),
}
_PLOT_BATCHES = (1, 4, 16, 64, 256, 1024)
_1080TI_OVER_CORE = {
    "wnd": (0.47, 0.62, 0.83, 1.6, 3.3, 4.6),
    "mt-wnd": (0.43, 0.60, 0.75, 1.4, 2.7, 4.0),
    "rmc3": (0.70, 1.4, 1.8, 2.4, 3.0, 3.1),
    "ncf": (0.25, 0.33, 0.37, 0.95, 1.7, 2.9),
    "dien": (0.37, 0.43, 0.51, 0.80, 1.45, 2.0),
    "din": (0.25, 0.27, 0.41, 0.54, 0.97, 1.35),
    "rmc2": (0.43, 0.72, 1.0, 1.2, 1.2, 1.2),
    "rmc1": (0.37, 0.51, 0.82, 1.0, 1.1, 1.1),
}
# Work per item of the reference's files: millions of multiply-adds, embedding bytes, tables.
_WORK = {
    "ncf": (0.147, 1_024, 4),
    "wnd": (2.065, 3_456, 27),
    "mt-wnd": (2.621, 5_504, 43),
    "rmc1": (0.100, 81_920, 8),
    "rmc2": (0.320, 983_040, 32),
    "rmc3": (3.203, 25_600, 10),
    "din": (0.074, 97_152, 253),
    "dien": (0.785, 5_504, 43),
}
# Peak multiply-adds of a core, AVX-512 at 2.0 GHz over AVX2 at 2.4 GHz, two units each.
_BROADWELL_COMPUTE = (2.0 * 32) / (2.4 * 16)


def _line(model: str) -> tuple[float, float]:
    """Milliseconds per batch and per item of a published core, from its ends."""
    low, *_, high = _C5N_MS[model]
    per_item = (high - low) / (_BATCHES[-1] - _BATCHES[0])
    return max(0.0, _C5N_MS[model][1] - per_item * _BATCHES[1]), per_item


def _rates() -> tuple[float, float, float]:
    """Milliseconds per byte of embeddings, per million multiply-adds, and per table and batch."""
    per_byte = _line("rmc2")[1] / _WORK["rmc2"][1]
    macs, in_bytes, _ = _WORK["wnd"]
    per_mac = (_line("wnd")[1] - per_byte * in_bytes) / macs
    tables = np.array([_WORK[model][2] for model in _C5N_MS])
    starts = np.array([_line(model)[0] for model in _C5N_MS])
    return per_byte, per_mac, float(tables @ starts / (tables @ tables))


def _skylake(model: str) -> Profile:
    device = "Skylake-like core"
    if model in _C5N_MS:
        seconds = tuple(ms / 1e3 for ms in _C5N_MS[model])
        return Profile(
            model, device, "published", _KAIROS.format("c5n.2xlarge"), _BATCHES, seconds, NOISE
        )
    per_byte, per_mac, per_table = _rates()
    macs, in_bytes, tables = _WORK[model]
    source = (
        f"work per item at the speed of Kairos's c5n.2xlarge: {1e6 * per_byte:.2g} ns a byte, "
        f"{1e3 * per_mac:.2g} us a million multiply-adds, {per_table:.2g} ms a table and batch"
    )
    seconds = tuple(
        (per_table * tables + rows * (per_byte * in_bytes + per_mac * macs)) / 1e3
        for rows in _BATCHES
    )
    return Profile(model, device, "derived", source, _BATCHES, seconds, NOISE)


def _broadwell(model: str) -> Profile:
    skylake = _skylake(model)
    per_byte, per_mac, _ = _rates()
    macs, in_bytes, _ = _WORK[model]
    compute = per_mac * macs / (per_mac * macs + per_byte * in_bytes)
    slower = 1 + compute * (_BROADWELL_COMPUTE - 1)
    source = (
        f"{skylake.device} ({skylake.source}), where the {compute:.0%} of the time that are "
        f"multiply-adds take {_BROADWELL_COMPUTE:.2f} times as long (AVX2 at 2.4 GHz against "
        "AVX-512 at 2.0 GHz)"
    )
    seconds = tuple(slower * one for one in skylake.seconds)
    return Profile(model, "Broadwell-like core", "derived", source, _BATCHES, seconds, NOISE)


def _gtx_1080_ti(model: str) -> Profile:
    core = _skylake(model)
    at = core.by_rows()
    source = f"DeepRecSys's plot of a 1080 Ti over a Skylake core, times {core.device}"
    seconds = tuple(
        float(at[rows]) / ratio for rows, ratio in zip(_PLOT_BATCHES, _1080TI_OVER_CORE[model])
    )
    return Profile(model, "1080 Ti", "derived", source, _PLOT_BATCHES, seconds, NOISE)


def _t4(model: str) -> Profile:
    if model not in _T4_MS:
        raise ValueError(f"no times of {model!r} on a T4 are published; use {', '.join(_T4_MS)}")
    seconds = tuple(ms / 1e3 for ms in _T4_MS[model])
    source = _KAIROS.format("T4 (g4dn.xlarge)")
    return Profile(model, "T4", "published", source, _BATCHES, seconds, NOISE)


CPUS = {"skylake": (40, _skylake), "broadwell": (28, _broadwell)}
ACCELERATORS = {"1080ti": _gtx_1080_ti, "t4": _t4}


def published_machine(model: str, cpu: str = "skylake", accelerator: str | None = None) -> Machine:
    """A machine of the paper, for one model.

    Args:
        model: One of the eight.
        cpu: `skylake` (40 cores) or `broadwell` (28).
        accelerator: `1080ti`, `t4`, or None.

    Raises:
        ValueError: There is no such model, device, or published time.
    """
    if model not in _WORK:
        raise ValueError(f"model {model!r} has no profile; there are {', '.join(_WORK)}")
    if cpu not in CPUS:
        raise ValueError(f"{cpu=} has no profile; there are {', '.join(CPUS)}")
    if accelerator is not None and accelerator not in ACCELERATORS:
        raise ValueError(f"{accelerator=} has no profile; there are {', '.join(ACCELERATORS)}")
    cores, core = CPUS[cpu]
    name = f"{cpu}-{cores}" + (f"+{accelerator}" if accelerator else "")
    beside = ACCELERATORS[accelerator](model) if accelerator else None
    return Machine(name, cores, core(model), beside)
