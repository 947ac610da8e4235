"""What a measurement says of its machine."""

from __future__ import annotations

import jax

from silverjax.machine import machine, versions


def test_says_cores_devices_and_versions() -> None:
    found = machine()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["devices"] == [device.device_kind for device in jax.devices()]
    assert versions(["jax", "no such library"]).keys() == {"python", "jax"}
