"""Power meters: what a device has, or the user's own beside it."""

from __future__ import annotations

import time

from harness.devices.energy.battery import BATTERY
from harness.devices.energy.external import ExternalMeter
from harness.devices.energy.meter import Meter, Named, OnDevice, read_lines
from harness.devices.energy.pmic import PMIC
from harness.devices.energy.rapl import RAPL
from harness.domain import Device
from harness.errors import UnsupportedError
from harness.transports.transport import Transport

#: By the name under which ``power.sh`` knows it, the one that is tried first first.
GAUGES: dict[str, OnDevice] = {"pmic": PMIC, "battery": BATTERY, "rapl": RAPL}

__all__ = ["GAUGES", "DeviceMeter", "ExternalMeter", "Meter", "Named", "find_meter"]


class DeviceMeter:
    """A meter of the device's own, read over its link; see ``Meter``."""

    def __init__(self, transport: Transport, kind: str, root: str = "") -> None:
        self.named = GAUGES[kind].named
        self._transport, self._kind, self._root = transport, kind, root
        self._before: dict[str, str] | None = None
        self.read()

    def read(self) -> list[tuple[float, float]]:
        """One reading, now: ``UnsupportedError`` where there is none."""
        asked = time.monotonic()
        now = read_lines(self._transport, self._kind, self._root)
        watts = GAUGES[self._kind].watts(now, self._before)
        self._before = now
        return [] if watts is None else [((asked + time.monotonic()) / 2, watts)]

    def close(self) -> None:
        """Nothing stays on."""


def find_meter(device: Device, transport: Transport, root: str = "") -> Meter:
    """The profile's meter, else the first of the device's that tells.

    Raises ``UnsupportedError`` that says of each why not, ``TransportError``.
    """
    command = device.link.get("power_meter")
    if command:
        accuracy = float(device.link["power_meter_accuracy_percent"])
        return ExternalMeter([str(part) for part in command], accuracy)
    why = []
    for kind in GAUGES:
        try:
            return DeviceMeter(transport, kind, root)
        except UnsupportedError as error:
            why.append(f"{kind}: {error.message}")
            hint = error.hint
            if hint:
                why[-1] += f" ({hint})"
    raise UnsupportedError(
        f"{device.name}: no meter tells its power: {'; '.join(why)}",
        hint="a meter of your own: power_meter in the device's profile",
    )
