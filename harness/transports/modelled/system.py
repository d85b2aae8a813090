"""What the agent can observe of a device that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.domain import Device
from harness.simulation.roofline import MODEL_VERSION
from harness.simulation.thermal import Thermal
from harness.simulation.version import profile_version


class ModelledSystem:
    """What the agent can observe of a device that is not there."""

    def __init__(self, device: Device, governor: str = "") -> None:
        self._device = device
        self.governor = governor
        self.memory = int(device.simulation["memory_mb"] * 1e6)
        self.threads = 1
        #: That of its process, once it has been asked for something.
        self.thermal = Thermal(device.simulation, 0.0, 0)

    def describe(self) -> dict[str, Any]:
        """See the agent's ``System``."""
        return {
            "system": "simulated",
            "machine": "simulated",
            "release": MODEL_VERSION,
            "cpu_count": self._device.simulation.get("cores", 1),
            "cpu_model": self._device.title,
            "profile": profile_version(self._device.simulation),
            **({"governor": self.governor} if self.governor else {}),
        }

    def peak_memory_bytes(self) -> int:
        """See the agent's ``System``."""
        return self.memory

    def resident_memory_bytes(self) -> int:
        """See the agent's ``System``: what is modelled never gives memory back."""
        return self.memory

    def thread_count(self) -> int:
        """See the agent's ``System``."""
        return self.threads

    def conditions(self) -> dict[str, Any]:
        """See the agent's ``System``: there are no other processes."""
        now = self.thermal.read()
        return {
            "busy_s": None,
            "own_s": None,
            "frequency_mhz": now.clock_mhz,
            "frequency_max_mhz": None if now.clock_mhz is None
            else self._device.simulation["clock_mhz"],
            "temperature_c": None if now.temperature_c is None else round(now.temperature_c, 3),
            "involuntary_switches": None,
            "processors": self._device.simulation.get("cores", 1),
        }  # fmt: skip

    def sensors(self) -> ModelledSystem:
        """See the agent's ``System``; power as well, which real devices are asked for."""
        return self

    def read(self) -> list[tuple[str, str, int]]:
        """See the agent's ``Sensors``."""
        now = self.thermal.read()
        told = (
            ("temperature", "m°C", now.temperature_c, 1e3),
            ("frequency", "kHz", now.clock_mhz, 1e3),
            ("power", "µW", now.power_w, 1e6),
        )
        return [
            (phase, unit, round(value * factor))
            for phase, unit, value, factor in told
            if value is not None
        ]

    def cores(self) -> None:
        """A modelled device has no cores to choose from."""

    def keep_to(self, _cores: Sequence[int]) -> None:
        """See the agent's ``System``; this process keeps its own."""
