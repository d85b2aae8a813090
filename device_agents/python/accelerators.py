"""The Edge TPUs that this machine has, as the kernel shows them, and why one cannot be opened.

USB ids: 1a6e:089a until libedgetpu has loaded the firmware, 18d1:9302 from then on; PCI id
1ac1:089a, device file /dev/apex_N of the gasket driver (github.com/google-coral/libedgetpu,
debian/edgetpu-accelerator.rules; coral.ai/docs/m2/get-started).
"""

import os
import re

from device_agents.python.failures import AgentFailure

_USB = {("1a6e", "089a"), ("18d1", "9302")}
_PCI = ("0x1ac1", "0x089a")

_PLUG = (
    "plug it in (USB 3, straight into the device) and look for 1a6e:089a or 18d1:9302 in lsusb, or "
    "for /dev/apex_0 of a card; into a container pass /dev/bus/usb or /dev/apex_0"
)
_UDEV = (
    "install the udev rules of libedgetpu1-std, then: sudo usermod -aG plugdev $USER; log in "
    "again and plug the accelerator in anew"
)
_APEX = (
    'as /etc/udev/rules.d/65-apex.rules: SUBSYSTEM=="apex", MODE="0660", GROUP="apex"; then: '
    "sudo groupadd -f apex; sudo usermod -aG apex $USER; restart the device"
)
_DRIVER = "install the driver: sudo apt-get install gasket-dkms, then restart the device"


class Seen:
    """An accelerator that the kernel shows: ``usb`` or ``pci``, where, and its device file.

    ``node`` is ``None`` for a card without a driver.
    """

    def __init__(self, kind, path, node):
        self.kind = kind
        self.path = path
        self.node = node

    @property
    def allowed(self):
        """Whether this user may open it."""
        return self.node is not None and os.access(self.node, os.R_OK | os.W_OK)


def seen(root="/"):
    """Every ``Seen`` below ``root``, which tests give a tree of their own."""
    found = []
    buses = os.path.join(root, "sys/bus/usb/devices")
    for name in _names(buses):
        folder = os.path.join(buses, name)
        if (_read(folder, "idVendor"), _read(folder, "idProduct")) in _USB:
            bus, number = _read(folder, "busnum"), _read(folder, "devnum")
            node = os.path.join(root, "dev/bus/usb", bus.zfill(3), number.zfill(3))
            found.append(Seen("usb", "/sys/bus/usb/devices/" + name, node))
    apex = [name for name in _names(os.path.join(root, "dev")) if re.match(r"apex_\d+$", name)]
    found.extend(Seen("pci", "/dev/" + name, os.path.join(root, "dev", name)) for name in apex)
    cards = os.path.join(root, "sys/bus/pci/devices")
    if not apex:
        for name in _names(cards):
            folder = os.path.join(cards, name)
            if (_read(folder, "vendor"), _read(folder, "device")) == _PCI:
                found.append(Seen("pci", "/sys/bus/pci/devices/" + name, None))
    return sorted(found, key=lambda one: port_order((one.kind, one.path)))


def port_order(found):
    """A sort key of (kind, path) by the port: the same before and after the firmware."""
    kind, path = found
    return kind, [int(part) for part in re.findall(r"\d+", path.rpartition("/")[2])], path


def why_not(device, path, said, listed=None, root="/"):
    """The ``AgentFailure`` for an accelerator that cannot be opened.

    ``device`` is what was asked for, ``path`` where that is as far as it is known, ``said``
    the delegate's own words, ``listed`` what the library sees, as (kind, path).
    """
    kind, _, index = device.partition(":")
    known = seen(root)
    shown = {one.path for one in known}
    known += [Seen(one[0], one[1], None) for one in listed or () if one[1] not in shown]
    there = [one for one in known if kind in ("", one.kind)]
    name = device or "an Edge TPU"
    said = ": " + said if said else ""
    if not there:
        other = ", ".join(_names_of(known))
        return _unavailable(
            "%s is not plugged in%s%s" % (name, " (there is %s)" % other if other else "", said),
            _PLUG,
        )
    if index and int(index) >= len(there):
        return _unavailable(
            "there is no %s: this device has %s%s" % (device, ", ".join(_names_of(there)), said),
            "choose one of them as edgetpu of the device's profile",
        )
    if path is None and index:
        path = there[int(index)].path
    wanted = [one for one in there if path in (None, one.path)] or there
    wanted = [one for one in wanted if one.path in shown]
    if wanted and all(one.node is None for one in wanted):
        return _unavailable(
            "the card at %s has no driver: there is no /dev/apex_0" % wanted[0].path, _DRIVER
        )
    refused = [one for one in wanted if not one.allowed]
    if wanted and len(refused) == len(wanted):
        if not os.path.exists(refused[0].node):
            return _unavailable(
                "there is no device file %s for %s" % (refused[0].node, refused[0].path),
                "pass it into the container: docker run --privileged -v /dev/bus/usb:/dev/bus/usb",
            )
        return _unavailable(
            "this user may not open %s (%s)" % (refused[0].node, refused[0].path),
            _UDEV if refused[0].kind == "usb" else _APEX,
        )
    holders = [holder for one in wanted for holder in _holders(one.node, root)]
    who = " by " + ", ".join(holders) if holders else ", it seems"
    return AgentFailure(
        "accelerator_busy",
        "load",
        "%s cannot be opened: it is taken%s%s" % (name, who, said),
        "end what uses it; if nothing does, plug it out and in again (PCIe: restart the device)",
    )


def _unavailable(message, hint):
    return AgentFailure("accelerator_unavailable", "load", message, hint)


def _names_of(found):
    """``usb:0 (path)`` for each, numbered within its kind."""
    counts, names = {}, []
    for one in sorted(found, key=lambda one: port_order((one.kind, one.path))):
        number = counts.get(one.kind, 0)
        counts[one.kind] = number + 1
        names.append("%s:%d (%s)" % (one.kind, number, one.path))
    return names


def _holders(node, root):
    """``name (process id)`` of other processes that have the device file open, as far as seen."""
    found = []
    own = os.getpid()
    processes = os.path.join(root, "proc")
    for name in _names(processes):
        if not name.isdigit() or int(name) == own:
            continue
        folder = os.path.join(processes, name)
        for descriptor in _names(os.path.join(folder, "fd")):
            try:
                target = os.path.realpath(os.path.join(folder, "fd", descriptor))
            except OSError:
                continue
            if target == node:
                found.append("%s (process %s)" % (_read(folder, "comm") or "?", name))
                break
    return found[:5]


def _names(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(folder, name):
    try:
        with open(os.path.join(folder, name), "r") as stream:
            return stream.read(200).strip()
    except (OSError, ValueError):
        return ""
