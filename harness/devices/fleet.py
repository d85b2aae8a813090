"""Every device that there is: those with a profile and how they are, and those without."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.config.devices import device_files, find_device
from harness.devices import coral
from harness.devices.accelerators import plugged_in
from harness.devices.doctor import WARM, next_step
from harness.devices.emulated import how_to_start_again
from harness.devices.readiness import LOW_BATTERY
from harness.devices.session import Session
from harness.devices.state import DeviceState, read_state
from harness.domain import Device, DeviceKind, Mark
from harness.errors import AuthenticationError, DeviceBusyError, HarnessError, HostKeyError
from harness.transports import TRANSPORTS

#: Devices that are looked at at once.
_AT_ONCE = 16

#: Aliases of an ssh configuration that are shown, at most.
_MOST_ALIASES = 50


class Condition(StrEnum):
    """How a device is just now."""

    READY = "ready"
    POORLY = "poorly"
    BUSY = "busy"
    AWAY = "away"
    REFUSED = "refused"
    MODELLED = "modelled"
    WRONG = "wrong profile"
    UNKNOWN = "not looked at"
    FOUND = "no profile"


@dataclass(frozen=True, slots=True)
class Entry:
    """One device: ``device`` is its profile, if it has a good one.

    ``note`` says what is wrong or was found, ``fix`` what to do about it; ``profile`` are lines
    of TOML for a device that has none.
    """

    name: str
    condition: Condition
    device: Device | None = None
    link: str = ""
    note: str = ""
    fix: str = ""
    profile: str = ""


def configured(*, look: bool) -> list[Entry]:
    """The devices that have a profile; with ``look``, how each of them is, all at once.

    A profile that cannot be read is an entry too. Looking opens a session for a moment.
    """
    files = device_files()
    turns: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def entry(name: str) -> Entry:
        try:
            device = find_device(name, TRANSPORTS)
        except HarnessError as error:
            fix = how_to_start_again(name, files[name]) or error.hint or ""
            return Entry(name, Condition.WRONG, note=error.message, fix=fix)
        return _look(device, turns) if look else Entry(name, Condition.UNKNOWN, device)

    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="look") as pool:
        return list(pool.map(entry, files))


def _look(device: Device, turns: Mapping[str, threading.Lock]) -> Entry:
    """One device; several profiles of one address take turns."""
    if device.kind is DeviceKind.SIMULATED:
        return Entry(device.name, Condition.MODELLED, device, "here")
    link = ""
    try:
        session = Session(device, "harness devices")
        link = session.transport.address
        with turns[link], session:
            ills = list(_ills(read_state(session.transport)))
    except HarnessError as error:
        fix = next_step(device, error)
        return Entry(device.name, _condition(error), device, link, error.message, fix)
    tpu = plugged_in(device)
    fix = ""
    if tpu is not None and tpu.mark is Mark.BAD:
        ills.append(tpu.found)
        fix = tpu.fix
    condition = Condition.POORLY if ills else Condition.READY
    return Entry(device.name, condition, device, link, ", ".join(ills), fix)


def _condition(error: HarnessError) -> Condition:
    if isinstance(error, DeviceBusyError):
        return Condition.BUSY
    refused = isinstance(error, (AuthenticationError, HostKeyError))
    return Condition.REFUSED if refused else Condition.AWAY


def _ills(state: DeviceState) -> Iterator[str]:
    if state.temperature_c is not None and state.temperature_c > WARM:
        yield f"{state.temperature_c:.0f} °C"
    if state.throttled or (state.thermal_status or 0) > 0:
        yield "throttled"
    if state.battery_percent is not None and state.battery_percent < LOW_BATTERY:
        yield f"battery at {state.battery_percent} %"


def unconfigured(entries: Sequence[Entry]) -> list[Entry]:
    """What is attached to this machine or named in its ssh configuration, without a profile.

    Nothing is connected to: the adb server, the USB bus and ``~/.ssh/config`` are asked.
    """
    links = [entry.device.link for entry in entries if entry.device is not None]
    return [
        *_phones({str(link.get("serial")) for link in links}),
        *_corals({str(link["edgetpu"]) for link in links if "edgetpu" in link}),
        *_aliases({str(link.get("host")).rpartition("@")[2] for link in links}),
    ]


def _phones(known: set[str]) -> Iterator[Entry]:
    from harness.transports.adb_devices import discover

    with contextlib.suppress(HarnessError):
        for phone in discover():
            if phone.serial not in known:
                what = " ".join(filter(None, (phone.model, f"({phone.state})")))
                profile = _profile(transport="adb", serial=phone.serial)
                yield Entry(phone.serial, Condition.FOUND, None, "adb", what, profile=profile)


def _corals(known: set[str]) -> Iterator[Entry]:
    for found in coral.discover():
        if found.name not in known:
            profile = _profile(transport="local", accelerators=["edgetpu"], edgetpu=found.name)
            note = f"Edge TPU ({found.state.value})"
            yield Entry(
                found.name, Condition.FOUND, None, found.path, note, found.fix, profile=profile
            )


def _aliases(known: set[str]) -> Iterator[Entry]:
    """Hosts by name: patterns, and what ``Include`` brings, are left out."""
    try:
        text = (Path.home() / ".ssh" / "config").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    names = [
        name
        for line in text.splitlines()
        if (words := line.replace("=", " ", 1).split())[:1] and words[0].lower() == "host"
        for name in words[1:]
        if not set(name) & set("*?!") and name not in known
    ]
    for name in list(dict.fromkeys(names))[:_MOST_ALIASES]:
        profile = _profile(transport="ssh", host=name)
        yield Entry(name, Condition.FOUND, None, "ssh", profile=profile)


def _profile(**values: str | list[str]) -> str:
    """Lines of TOML; a string of JSON is one of TOML."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
