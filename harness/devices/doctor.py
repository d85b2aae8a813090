"""What to look at before trusting a device: each check with what was found and the fix."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from harness.devices.accelerators import check_accelerators
from harness.devices.emulated import how_to_start
from harness.devices.session import Answer, Session
from harness.devices.state import DeviceState, read_state
from harness.domain import Check, Device, DeviceKind, Mark, Stage
from harness.errors import DeviceBusyError, HarnessError, UnreachableError

#: A device's clock may be off by so many seconds before it is worth a word.
CLOCK_SECONDS = 30

#: Room for an agent, a runtime and a dataset, bytes.
DISK_WANTED = 256 * 1024 * 1024

#: Above this a processor without a fan is close to lowering its clock, °C.
WARM = 70.0

#: A device that computes more than this by itself disturbs what is measured, share.
BUSY = 0.10

#: What the arm64 wheels of ai-edge-litert need in spite of their tag.
_GLIBC_OF_LITERT = (2, 34)


def examine(device: Device) -> Generator[Check, None, None]:
    """Every check of a device, as it ends; the link and the device's lock are given back.

    Never raises for what is wrong with the device: that is a check too.
    """
    try:
        session = Session(device, "harness doctor")
        with session:
            yield Check("reachable", Mark.GOOD, session.transport.address)
            yield from _of_session(device, session)
    except DeviceBusyError as error:
        yield Check("free", Mark.BAD, error.message, error.hint or "")
    except HarnessError as error:
        yield Check("reachable", Mark.BAD, error.message, next_step(device, error))


def next_step(device: Device, error: HarnessError) -> str:
    """What to do about a device that could not be had."""
    if device.kind is DeviceKind.EMULATED and isinstance(error, UnreachableError):
        return how_to_start(device.name, device.transport) or error.hint or ""
    return error.hint or ""


def _of_session(device: Device, session: Session) -> Iterator[Check]:
    if device.kind is not DeviceKind.SIMULATED:
        try:
            state = read_state(session.transport, session.transport.work_dir)
        except HarnessError as error:
            yield Check("shell", Mark.BAD, error.message, error.hint or "a POSIX shell is needed")
            return
        for check in _STATE_CHECKS:
            yield from check(device, state)
        yield from check_accelerators(device, state, session.transport)
    yield from _agent(session)
    if device.link.get("benchmark_model"):
        yield _benchmark_model(session)


def _agent(session: Session) -> Iterator[Check]:
    try:
        session.push([], lambda *_: None)
        yield Check("push", Mark.GOOD, "the agent is there, verified on the device")
        answer = _probe(session, "cpu")
    except HarnessError as error:
        yield Check("agent", Mark.BAD, error.message, error.hint or "")
        return
    yield from _of_agent(answer.hello)


def _benchmark_model(session: Session) -> Check:
    """The user's own program: it can be had, is as pinned, and runs on this device."""
    try:
        session.push([], lambda *_: None, ["benchmark_model"])
        hello = _probe(session, "cpu (runner=benchmark_model)").hello
    except HarnessError as error:
        return Check("benchmark_model", Mark.BAD, error.message, error.hint or "")
    return Check("benchmark_model", Mark.GOOD, f"runs there, {hello['runtime']['version']}")


def _probe(session: Session, backend: str) -> Answer:
    request = {"action": "probe", "backend": backend}
    return session.ask(request, lambda *_: None, purpose=Stage.START, silence=60)


def _of_agent(hello: dict[str, Any]) -> Iterator[Check]:
    platform, runtime = hello["platform"], hello.get("runtime")
    python = f"Python {platform['python']}, " if platform.get("python") else ""
    numpy = f"NumPy {hello['numpy']}, " if hello.get("numpy") else ""
    problem = hello.get("problem")
    if isinstance(problem, dict):
        yield Check(
            "runtime",
            Mark.BAD,
            f"{python}{numpy}{problem.get('message', 'no runtime')}",
            str(problem.get("hint") or ""),
        )
    elif runtime is not None:
        found = f"{python}{numpy}{runtime['name']} {runtime['version']}"
        yield Check("runtime", Mark.GOOD, found)
    yield from _libc(platform, runtime)
    clock = hello["clock"]
    step = clock.get("resolution_ns") or 0
    yield Check(
        "timer",
        Mark.GOOD if step <= 1000 else Mark.WARNING,
        f"{clock.get('name')}, steps of {step:g} ns",
        "" if step <= 1000 else "models that take less than a hundred steps cannot be told apart",
    )


def _libc(platform: dict[str, Any], runtime: dict[str, Any] | None) -> Iterator[Check]:
    found = re.fullmatch(r"glibc (\d+)\.(\d+)\S*", str(platform.get("libc") or ""))
    if not found:
        return
    version = (int(found[1]), int(found[2]))
    old = platform.get("machine") == "aarch64" and version < _GLIBC_OF_LITERT
    if old and (runtime is None or runtime["name"] == "ai_edge_litert"):
        yield Check(
            "libc",
            Mark.BAD if runtime is None else Mark.WARNING,
            f"{platform['libc']}: ai-edge-litert for arm64 needs 2.34",
            "install tflite-runtime and 'numpy<2' there instead, or a newer system",
        )
    else:
        yield Check("libc", Mark.GOOD, str(platform["libc"]))


# -- what the device's state tells -----------------------------------------------------------


def _clock(device: Device, state: DeviceState) -> Iterator[Check]:
    if state.clock is None:
        yield Check("clock", Mark.UNKNOWN, "the device does not tell its time")
        return
    off = state.clock - time.time()
    if abs(off) > CLOCK_SECONDS:
        yield Check(
            "clock",
            Mark.WARNING,
            f"off by {off:+.0f} s: latencies do not care, certificates and logs do",
            "in the phone's settings: set the time automatically"
            if device.transport == "adb"
            else "on the device: sudo timedatectl set-ntp true",
        )
    else:
        yield Check("clock", Mark.GOOD, f"within {max(1, round(abs(off)))} s of this machine's")


def _disk(_device: Device, state: DeviceState) -> Iterator[Check]:
    free = state.disk_free_bytes
    if state.facts.get("disk.writable") == "0":
        yield Check("disk", Mark.BAD, "this user may not write in work_dir", "set work_dir")
    elif free is None:
        yield Check("disk", Mark.UNKNOWN, "the device does not tell its free space")
    elif free < DISK_WANTED:
        yield Check(
            "disk",
            Mark.WARNING,
            f"{free / 1e6:,.0f} MB free",
            "harness devices clean DEVICE, or set work_dir to another disk",
        )
    else:
        yield Check("disk", Mark.GOOD, f"{free / 1e9:,.1f} GB free")


def _memory(_device: Device, state: DeviceState) -> Iterator[Check]:
    text = state.facts.get("memory.available_kb", "")
    if not re.fullmatch(r"\d{1,12}", text):
        return
    free = int(text) * 1024
    mark = Mark.GOOD if free > DISK_WANTED else Mark.WARNING
    fix = "" if mark is Mark.GOOD else "end what runs there, or expect large models to fail"
    yield Check("memory", mark, f"{free / 1e9:,.1f} GB available", fix)


def _processors(_device: Device, state: DeviceState) -> Iterator[Check]:
    online = [item for item in state.processors if item.online]
    if not online:
        yield Check("processors", Mark.UNKNOWN, "the device does not tell")
        return
    big, little = state.cores("big"), state.cores("little")
    if big:
        yield Check(
            "processors",
            Mark.GOOD,
            f"{len(big)} big ({_list(big)}) and {len(little)} little ({_list(little)})",
            'a model may run on either kind: cores = "big" in the Policy keeps it on one',
        )
    else:
        yield Check("processors", Mark.GOOD, f"{len(online)}, all alike")
    lowered = [item for item in online if item.limit_khz and item.limit_khz < item.max_khz]
    if lowered:
        item = lowered[0]
        yield Check(
            "frequency",
            Mark.WARNING,
            f"processor {item.number} is held at {item.limit_khz / 1e6:.2f} of "
            f"{item.max_khz / 1e6:.2f} GHz",
            "heat, a weak supply or a power saving mode: latencies will be those of that limit",
        )


def _governor(device: Device, state: DeviceState) -> Iterator[Check]:
    if not state.governor:
        yield Check("governor", Mark.UNKNOWN, "the device does not tell: a virtual machine?")
    elif state.governor == "performance":
        yield Check("governor", Mark.GOOD, "performance")
    else:
        yield Check(
            "governor",
            Mark.WARNING,
            f"{state.governor}: the frequency follows the load",
            "a phone that is not rooted keeps it: warmup_seconds in the Policy lets it rise first, "
            "more trials show how far it varies"
            if device.transport == "adb"
            else 'governor = "performance" in the Policy sets it where this user may; else on the '
            "device: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/"
            "scaling_governor",
        )


def _temperature(_device: Device, state: DeviceState) -> Iterator[Check]:
    if state.throttled:
        yield Check(
            "throttling",
            Mark.BAD,
            f"the board says {state.facts.get('throttled', '')}",
            "a better power supply, and a fan",
        )
    if (state.thermal_status or 0) > 0:
        yield Check(
            "throttling",
            Mark.BAD,
            f"Android's thermal status is {state.thermal_status}",
            "let it cool down: max_temperature_c and cooldown_seconds in the Policy",
        )
    degrees = state.temperature_c
    if degrees is None:
        yield Check("temperature", Mark.UNKNOWN, "no sensor: throttling cannot be told")
    elif degrees > WARM:
        yield Check(
            "temperature",
            Mark.WARNING,
            f"{degrees:.0f} °C",
            "let it cool down: max_temperature_c and cooldown_seconds in the Policy",
        )
    else:
        yield Check("temperature", Mark.GOOD, f"{degrees:.0f} °C")


def _battery(_device: Device, state: DeviceState) -> Iterator[Check]:
    level = state.battery_percent
    if level is None:
        return
    charging = "on a cable" if state.powered else "not on a cable"
    low = level < 30
    yield Check(
        "battery",
        Mark.WARNING if low or not state.powered else Mark.GOOD,
        f"{level} %, {state.battery_status.lower() or 'status unknown'}, {charging}",
        "min_battery_percent in the Policy waits; a weak battery lowers the clock"
        if low
        else ("" if state.powered else "a long run may end on an empty battery"),
    )


def _load(_device: Device, state: DeviceState) -> Iterator[Check]:
    if state.busy is None:
        yield Check("other load", Mark.UNKNOWN, "the device does not tell")
    elif state.busy > BUSY:
        yield Check(
            "other load",
            Mark.WARNING,
            f"{state.busy:.0%} of all processors' time is in use",
            "end what else runs there: it makes every number larger and less sure",
        )
    else:
        yield Check("other load", Mark.GOOD, f"{state.busy:.0%} of all processors' time")


_STATE_CHECKS: tuple[Callable[[Device, DeviceState], Iterator[Check]], ...] = (
    _clock,
    _disk,
    _memory,
    _processors,
    _governor,
    _temperature,
    _battery,
    _load,
)


def _list(numbers: list[int]) -> str:
    """``0-3``, ``0,2``."""
    whole = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
    return f"{numbers[0]}-{numbers[-1]}" if whole else ",".join(map(str, numbers))
