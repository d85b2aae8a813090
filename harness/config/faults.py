"""Faults of simulated devices: from a profile or the command line, checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from harness.domain import Device, DeviceKind, Suite
from harness.domain.fault import Fault, FaultKind, parse_fault
from harness.errors import UsageError, suggest

_LIKE = 'such as --fault "pixel-3: disconnect at sample 40 of trial 2"'


def with_faults(suite: Suite, faults: Collection[str]) -> Suite:
    """The suite with faults written as ``DEVICE: FAULT`` added to its devices.

    Raises ``UsageError`` for what is no fault, unknown devices, and those not simulated.
    """
    more: dict[str, list[str]] = {}
    names = [device.name for device in suite.devices]
    for item in faults:
        name, colon, text = (part.strip() for part in item.partition(":"))
        if not colon or not name or not text:
            raise UsageError(f"the fault {item[:80]!r} names no device", hint=_LIKE)
        if name not in names:
            raise UsageError(
                f"the fault {item[:80]!r}: {name[:60]!r} is not a device of this run",
                hint=suggest(name, names),
            )
        check_fault(suite.devices[names.index(name)], text)
        more.setdefault(name, []).append(text)
    devices = tuple(
        replace(device, faults=(*device.faults, *more.get(device.name, ())))
        for device in suite.devices
    )
    return replace(suite, devices=devices) if more else suite


def check_fault(device: Device, text: str) -> None:
    """Raise ``UsageError`` for a fault that this device cannot have."""
    if device.kind is not DeviceKind.SIMULATED:
        raise UsageError(
            f"device {device.name} is {device.kind.value}: only simulated devices are given faults",
            hint="name a simulated device, or take the fault out",
        )
    fault = parse_fault(text)
    if (
        isinstance(fault, Fault)
        and fault.kind is FaultKind.FALLBACK
        and set(device.accelerators) == {"cpu"}
    ):
        raise UsageError(
            f"device {device.name} offers the CPU alone: there is nothing to fall back from",
            hint="choose a device with an accelerator, such as coral-usb",
        )
