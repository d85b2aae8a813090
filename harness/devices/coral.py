"""Coral Edge TPUs on this machine, as the kernel shows them: nothing is opened.

USB ids change when libedgetpu loads the firmware (github.com/google-coral/libedgetpu,
debian/edgetpu-accelerator.rules); PCI id 1ac1:089a, device file ``/dev/apex_N`` of the gasket
driver (coral.ai/docs/m2/get-started).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: What ``lsusb`` shows before the first use, and after.
BEFORE_USE, IN_USE = "1a6e:089a", "18d1:9302"

_PCI = ("0x1ac1", "0x089a")

_UDEV = (
    "install libedgetpu1-std for its udev rules, then: sudo usermod -aG plugdev $USER; log in "
    "again and plug the accelerator in anew"
)
#: What lets this user open a card's device file.
APEX = (
    'write SUBSYSTEM=="apex", MODE="0660", GROUP="apex" to /etc/udev/rules.d/65-apex.rules, then: '
    "sudo groupadd -f apex; sudo usermod -aG apex $USER; restart"
)
_DRIVER = "sudo apt-get install gasket-dkms, then restart"


class CoralState(StrEnum):
    """What may be expected of an accelerator."""

    READY = "ready"
    NOT_INITIALISED = "not initialised"
    NOT_ALLOWED = "not allowed"
    NO_DRIVER = "no driver"


@dataclass(frozen=True, slots=True)
class Coral:
    """One accelerator: what ``edgetpu`` of a profile calls it, where it is, its state.

    ``node`` is its device file; empty for a card without a driver. Not initialised: the
    firmware comes with the first use, there is nothing to do. ``fix`` is the next step where
    there is one.
    """

    name: str
    path: str
    node: str
    state: CoralState

    @property
    def usable(self) -> bool:
        """Whether this user can measure with it."""
        return self.state in (CoralState.READY, CoralState.NOT_INITIALISED)

    @property
    def fix(self) -> str:
        """What to do about its state."""
        if self.state is CoralState.NOT_ALLOWED:
            return _UDEV if self.name.startswith("usb") else APEX
        return _DRIVER if self.state is CoralState.NO_DRIVER else ""


def discover(root: Path = Path("/")) -> tuple[Coral, ...]:
    """Every Edge TPU below ``root``, by kind and port: the numbers that the agent counts by."""
    found = [*_cards(root)]
    numbered = sorted(_usb(root), key=lambda item: _order(item[0]))
    for number, (path, node, ready) in enumerate(numbered):
        allowed = os.access(root / node.lstrip("/"), os.R_OK | os.W_OK)
        state = CoralState.READY if ready else CoralState.NOT_INITIALISED
        found.append(
            Coral(f"usb:{number}", path, node, state if allowed else CoralState.NOT_ALLOWED)
        )
    return tuple(found)


def choose(found: Sequence[Coral], wanted: str) -> Coral | None:
    """The one that ``edgetpu`` of a profile means: ``usb:1``, ``pci``, or empty for any."""
    kind, _, index = wanted.partition(":")
    alike = [one for one in found if one.name.startswith(kind)]
    if index:
        return alike[int(index)] if int(index) < len(alike) else None
    return next((one for one in alike if one.usable), alike[0] if alike else None)


def _usb(root: Path) -> list[tuple[str, str, bool]]:
    """(path, device file, firmware loaded) of the accelerators on USB."""
    found = []
    for folder in _entries(root / "sys/bus/usb/devices"):
        ids = f"{_read(folder / 'idVendor')}:{_read(folder / 'idProduct')}"
        if ids in (BEFORE_USE, IN_USE):
            bus, number = _read(folder / "busnum").zfill(3), _read(folder / "devnum").zfill(3)
            path = f"/sys/bus/usb/devices/{folder.name}"
            found.append((path, f"/dev/bus/usb/{bus}/{number}", ids == IN_USE))
    return found


def _cards(root: Path) -> list[Coral]:
    """The accelerators on PCIe; those without a driver only where none has one."""
    names = [item.name for item in _entries(root / "dev") if re.fullmatch(r"apex_\d+", item.name)]
    if names:
        return [
            Coral(f"pci:{number}", f"/dev/{name}", f"/dev/{name}", _access(root / "dev" / name))
            for number, name in enumerate(sorted(names, key=_order))
        ]
    without = [
        folder.name
        for folder in _entries(root / "sys/bus/pci/devices")
        if (_read(folder / "vendor"), _read(folder / "device")) == _PCI
    ]
    return [
        Coral(f"pci:{number}", f"/sys/bus/pci/devices/{name}", "", CoralState.NO_DRIVER)
        for number, name in enumerate(sorted(without))
    ]


def _access(node: Path) -> CoralState:
    allowed = os.access(node, os.R_OK | os.W_OK)
    return CoralState.READY if allowed else CoralState.NOT_ALLOWED


def _order(path: str) -> tuple[list[int], str]:
    """Ports by number, not by digit: the same before and after the firmware."""
    return [int(part) for part in re.findall(r"\d+", path.rpartition("/")[2])], path


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:200].strip()
    except OSError:
        return ""
