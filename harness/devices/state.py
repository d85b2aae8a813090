"""What a device tells of its state: temperature, frequencies, battery, disk, load.

The lines come from ``state.sh`` and ``facts.sh`` of ``device_agents/shell``. Nothing in them is
trusted: what is not a number of a sensible size is as if it had not been said.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.devices.messages import clean
from harness.devices.shell import run_script
from harness.errors import ProtocolError
from harness.transports.transport import Transport

#: Longer answers are not of our script.
_MOST_LINES = 5000

#: Zones of these types are of the processor; others are of batteries, modems and cameras.
_PROCESSOR = re.compile(r"cpu|soc|core|x86_pkg|bcm2\d+|tsens|^big|^little|apc|cluster", re.I)

#: Android's numbers for a battery's status, see ``BatteryManager``.
_BATTERY = {"1": "Unknown", "2": "Charging", "3": "Discharging", "4": "Not charging", "5": "Full"}

_SERVICE = re.compile(r"mValue=(-?\d{1,3}(?:\.\d+)?).*?mType=(\d+)")

#: Android's temperature types of the processor: CPU and SOC... see ``android.os.Temperature``.
_SERVICE_CPU = "0"


@dataclass(frozen=True, slots=True)
class Processor:
    """One processor: frequencies in kHz, relative ``capacity`` of up to 1024; 0 or empty where
    the device does not tell."""

    number: int
    online: bool = True
    capacity: int = 0
    governor: str = ""
    khz: int = 0
    max_khz: int = 0
    limit_khz: int = 0


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A moment of a device; ``None`` or empty for what it does not tell.

    ``temperature_c`` is the hottest zone of the processor (of the board, where no zone is
    named so). ``battery_percent`` is ``None`` without a battery. ``busy`` is the share of all
    processors' time that was in use, 0 to 1. ``thermal_status`` is Android's, from 0 (none) to 6
    (about to shut down). ``facts`` holds the other lines as text.
    """

    processors: tuple[Processor, ...] = ()
    temperature_c: float | None = None
    battery_percent: int | None = None
    battery_status: str = ""
    battery_c: float | None = None
    powered: bool | None = None
    throttled: bool | None = None
    thermal_status: int | None = None
    disk_free_bytes: int | None = None
    clock: int | None = None
    busy: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def governor(self) -> str:
        """The governors in use, ``schedutil`` or ``performance, schedutil``."""
        return ", ".join(sorted({item.governor for item in self.processors if item.governor}))

    def cores(self, wanted: str) -> list[int]:
        """The numbers that a Policy's ``cores`` means here; empty where that means nothing.

        ``big`` and ``little`` go by capacity, else by highest frequency; a device whose
        processors are all alike has neither.
        """
        online = [item for item in self.processors if item.online]
        if wanted in ("big", "little"):
            weights = {item.number: item.capacity or item.max_khz for item in online}
            sizes = sorted(set(weights.values()))
            if len(sizes) < 2 or not sizes[0]:
                return []
            # Between the smallest and the largest there may be middle ones: they count as big.
            return [n for n, weight in weights.items() if (weight > sizes[0]) == (wanted == "big")]
        numbers: set[int] = set()
        for part in filter(None, wanted.split(",")):
            low, _, high = part.partition("-")
            numbers.update(range(int(low), int(high or low) + 1))
        there = {item.number for item in online}
        return sorted(numbers) if numbers and numbers <= there else []

    def as_dict(self) -> dict[str, Any]:
        """For a trial's record."""
        return {
            "temperature_c": self.temperature_c,
            "governor": self.governor or None,
            "khz": {str(item.number): item.khz for item in self.processors if item.khz},
            "battery_percent": self.battery_percent,
            "battery_status": self.battery_status or None,
            "powered": self.powered,
            "throttled": self.throttled,
            "thermal_status": self.thermal_status,
        }


def read_state(transport: Transport, folder: str | None = None) -> DeviceState:
    """The device's state; with its work ``folder`` the whole of it, which takes a second.

    Raises ``TransportError``, ``ProtocolError``.
    """
    lines = b""
    for name, *arguments in [["state.sh"], *([] if folder is None else [["facts.sh", folder]])]:
        done = run_script(transport, name, *arguments, timeout=60)
        if done.exit_code != 0:
            said = clean(done.stderr.decode("utf-8", "replace"))[-200:]
            raise ProtocolError(f"the device's shell cannot tell its state: {said}")
        lines += done.stdout
    return parse_state(lines.decode("utf-8", "replace"))


def parse_state(text: str) -> DeviceState:
    """Read the lines of the two scripts."""
    processors: dict[int, dict[str, str]] = defaultdict(dict)
    zones: dict[str, dict[str, str]] = defaultdict(dict)
    service: list[float] = []
    facts: dict[str, str] = {}
    powered: list[str] = []
    for line in text.splitlines()[:_MOST_LINES]:
        key, _, value = line.strip().partition(" ")
        value = str(clean(value)).replace("\ufffd", "").strip()[:300]
        parts = key.split(".")
        if parts[0] == "cpu" and len(parts) == 3 and parts[1].isdecimal() and len(parts[1]) < 4:
            processors[int(parts[1])][parts[2]] = value
        elif parts[0] == "thermal" and len(parts) == 3:
            zones[parts[1]][parts[2]] = value
        elif key == "thermal.service":
            found = _SERVICE.search(value)
            if found and found[2] == _SERVICE_CPU:
                service.append(float(found[1]))
        elif parts[0] == "power":
            powered.append(value)
        elif key in ("library", "apex"):
            name, _, rest = value.partition(" ")
            facts[f"{key}.{name}"] = rest
        elif key:
            facts[key] = value
    battery_c = _number(facts.get("battery.temp"), -400, 1500)
    free = _number(facts.get("disk.free_kb"), 0, 1 << 50)
    status = facts.get("battery.status", "")
    throttled = facts.get("throttled", "").partition("=")[2]
    level = _number(facts.get("battery.level"), 0, 100)
    return DeviceState(
        processors=tuple(_processor(n, found) for n, found in sorted(processors.items())),
        temperature_c=_temperature(zones.values(), service),
        battery_percent=level,
        battery_status=_BATTERY.get(status, status)[:20],
        battery_c=None if battery_c is None else battery_c / 10,
        powered=("1" in powered) if powered else None,
        throttled=_throttled(throttled),
        thermal_status=_number(facts.get("thermal.status"), 0, 6),
        disk_free_bytes=None if free is None else free * 1024,
        clock=_number(facts.get("clock"), 0, 1 << 40),
        busy=_busy(facts.get("stat.before", ""), facts.get("stat.after", "")),
        facts=facts,
    )


def _number(text: str | None, low: int, high: int) -> int | None:
    if text is None or not re.fullmatch(r"-?\d{1,16}", text):
        return None
    return int(text) if low <= int(text) <= high else None


def _processor(number: int, found: Mapping[str, str]) -> Processor:
    return Processor(
        number,
        online=found.get("online", "1") != "0",
        capacity=_number(found.get("capacity"), 0, 1 << 20) or 0,
        governor=found.get("governor", "")[:32],
        khz=_number(found.get("khz"), 0, 1 << 30) or 0,
        max_khz=_number(found.get("max_khz"), 0, 1 << 30) or 0,
        limit_khz=_number(found.get("limit_khz"), 0, 1 << 30) or 0,
    )


def _temperature(zones: Any, service: list[float]) -> float | None:
    """The kernel gives thousandths of a degree, some boards whole degrees."""
    processor: list[float] = []
    others: list[float] = []
    for zone in zones:
        value = _number(zone.get("temp"), -100_000, 200_000)
        if value is None:
            continue
        degrees = value / 1000 if abs(value) > 200 else float(value)
        if not -40 < degrees < 150 or degrees == 0:
            continue  # sensors that are switched off say such things
        (processor if _PROCESSOR.search(zone.get("type", "")) else others).append(degrees)
    for found in (processor, service, others):
        if found:
            return max(found)
    return None


def _throttled(text: str) -> bool | None:
    """A Raspberry Pi's word: the low four bits are what holds right now."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text):
        return None
    return bool(int(text, 16) & 0xF)


def _busy(before: str, after: str) -> float | None:
    """Share of time that was not idle between two ``cpu`` lines of /proc/stat, see proc(5)."""
    try:
        first, second = ([int(n) for n in line.split()[1:9]] for line in (before, after))
    except ValueError:
        return None
    if len(first) < 5 or len(first) != len(second):
        return None
    spent = [b - a for a, b in zip(first, second, strict=True)]
    total, idle = sum(spent), spent[3] + spent[4]
    return (total - idle) / total if total > 0 and min(spent) >= 0 else None
