"""Whether a device has what its accelerators need: libraries that load, an Edge TPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.devices import coral, messages
from harness.devices.state import DeviceState
from harness.domain import Check, Device, Mark
from harness.errors import HarnessError
from harness.transports import Transport

#: What the agent loads where the profile names no other.
_EDGETPU = "libedgetpu.so.1"

#: Accelerator -> the library that drives it, and where that comes from.
_DRIVERS = {
    "gpu": ("libOpenCL.so", "the GPU's driver with OpenCL"),
    "nnapi": ("libneuralnetworks.so", "Android 8.1 or later"),
}

_INSTALL = "sudo apt install libedgetpu1-std, from Coral's repository; or set edgetpu_library"
_PLUG = (
    f"plug it in and look for {coral.BEFORE_USE} or {coral.IN_USE} in lsusb, or for /dev/apex_0 of "
    "a card; "
    "harness devices lists those of this machine"
)

#: The loader's own words for the library that is its argument, or none.
_LOAD = "import ctypes, sys\ntry: ctypes.CDLL(sys.argv[1])\nexcept OSError as e: print(e)"


def check_accelerators(device: Device, state: DeviceState, transport: Transport) -> Iterator[Check]:
    """What can be told of each accelerator of the profile without loading a model."""
    for accelerator in device.accelerators:
        if accelerator in _DRIVERS:
            library, fix = _DRIVERS[accelerator]
            place = state.facts.get(f"library.{library}")
            if place:
                yield Check(accelerator, Mark.GOOD, f"{place}/{library}")
            else:
                yield Check(accelerator, Mark.BAD, f"{library} is not there", fix)
        elif accelerator == "edgetpu":
            yield _edgetpu_library(device, transport)
            yield plugged_in(device) or _card(device, state)


def _edgetpu_library(device: Device, transport: Transport) -> Check:
    """The device's loader has the last word: missing, for another machine, lacking a part."""
    library = str(device.link.get("edgetpu_library") or _EDGETPU)
    name = "edgetpu library"
    try:
        done = transport.run([transport.python, "-c", _LOAD, library], timeout=30)
    except HarnessError as error:
        return Check(name, Mark.UNKNOWN, f"{library}: {error.message}", error.hint or "")
    said = messages.clean(done.stdout.decode("utf-8", "replace").strip())[:300]
    if done.exit_code != 0:
        return Check(
            name,
            Mark.UNKNOWN,
            f"whether {library} loads is not known: {transport.python} does not run there",
        )
    if said:
        return Check(name, Mark.BAD, f"{library} does not load: {said}", _INSTALL)
    return Check(name, Mark.GOOD, f"{library} loads")


def plugged_in(device: Device, root: Path = Path("/")) -> Check | None:
    """The Edge TPU that the profile means, on this machine; ``None`` for another device."""
    if "edgetpu" not in device.accelerators or device.transport != "local":
        return None
    wanted = str(device.link.get("edgetpu") or "")
    there = coral.discover(root)
    found = coral.choose(there, wanted)
    if found is None:
        others = ", ".join(one.name for one in there)
        missing = f"{wanted or 'an Edge TPU'} is not plugged in"
        return Check("edgetpu", Mark.BAD, f"{missing}{others and f': there is {others}'}", _PLUG)
    mark = Mark.GOOD if found.usable else Mark.BAD
    return Check("edgetpu", mark, f"{found.name}, {found.path}: {found.state.value}", found.fix)


def _card(device: Device, state: DeviceState) -> Check:
    """Of another device its shell tells of cards; USB shows when a model is loaded."""
    wanted = str(device.link.get("edgetpu") or "")
    cards = [key.removeprefix("apex.") for key in state.facts if key.startswith("apex.")]
    if cards and not wanted.startswith("usb"):
        if any(state.facts[f"apex.{card}"] == "ok" for card in cards):
            return Check("edgetpu", Mark.GOOD, ", ".join(cards))
        return Check("edgetpu", Mark.BAD, f"this user may not open {', '.join(cards)}", coral.APEX)
    name = wanted or "an Edge TPU"
    return Check(
        "edgetpu",
        Mark.UNKNOWN,
        f"whether {name} is plugged in there shows when a model is loaded",
        f"lsusb there shows {coral.BEFORE_USE} before the first use, {coral.IN_USE} after",
    )
