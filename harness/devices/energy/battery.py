"""A battery's fuel gauge: Android phones, laptops.

``current_now`` in uA and ``voltage_now`` in uV of the kernel's power_supply class
(Documentation/ABI/testing/sysfs-class-power). The sign of the current differs between drivers:
what is known to discharge takes its magnitude. A battery on a cable tells the charger's current,
not the device's.
"""

from __future__ import annotations

import re

from harness.devices.energy.meter import Lines, Named, OnDevice, bounded
from harness.errors import UnsupportedError

_NUMBER = re.compile(r"-?\d{1,12}")

#: Less than this in uA is a driver that counts in mA: a device that runs at all takes more.
_LEAST_UA = 5000


def watts(now: Lines, before: Lines | None = None) -> float:
    """Power out of the battery."""
    del before
    supplies = sorted({key.partition(".")[0] for key in now if "." in key})
    batteries = [name for name in supplies if now.get(f"{name}.type") == "Battery"]
    if not batteries:
        raise UnsupportedError("no battery")
    powered = [
        name for name in supplies
        if now.get(f"{name}.online") == "1" and now.get(f"{name}.type") not in (None, "Battery")
    ]  # fmt: skip
    status = [now.get(f"{name}.status", "") for name in batteries]
    if powered or "Discharging" not in status:
        why = (
            f"on a cable ({', '.join(powered)})" if powered else f"{'/'.join(status) or 'unknown'}"
        )
        raise UnsupportedError(
            f"the battery is {why}: its gauge tells the charger's current, so the device's power "
            "cannot be told",
            hint="unplug it: adb and ssh work over the network too",
        )
    for name in batteries:
        current, voltage = (
            int(text) if _NUMBER.fullmatch(text) else None
            for text in (now.get(f"{name}.{key}", "") for key in ("current_now", "voltage_now"))
        )
        if current is None or voltage is None or voltage <= 0:
            continue
        if abs(current) < _LEAST_UA:
            raise UnsupportedError(
                f"the battery's gauge says {current} µA, which no running device takes: "
                "its driver counts in another unit"
            )
        return bounded(abs(current) * voltage * 1e-12, "the battery's gauge")
    denied = any(now.get(f"{name}.current_now") == "denied" for name in batteries)
    raise UnsupportedError(
        "the battery's gauge may not be read by this user" if denied
        else "the battery tells no current and voltage"
    )  # fmt: skip


BATTERY = OnDevice(
    Named("battery", 5.0, "assumed: makers of phones state none; the gauge averages over seconds"),
    watts,
)
