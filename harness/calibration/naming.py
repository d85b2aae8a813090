"""From the words of a table to a device of ours, a backend, a runtime."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.calibration.table import Published, dtype_of
from harness.config.prediction import PredictionData
from harness.domain import Backend
from harness.simulation.prediction import Core, Hardware, Parameters, Runtime, hardware_of
from harness.simulation.prediction.hardware import CoreType


class Unreadable(ValueError):  # noqa: N818  (it is a finding, told in a row's status)
    """Why a row cannot be predicted."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a row was measured on."""

    hardware: Hardware
    backend: Backend
    runtime: Runtime


def words(text: str) -> tuple[str, ...]:
    """Words of a name in lower case: ``Raspberry Pi 3B+`` is ``raspberry pi 3b plus``."""
    low = re.sub(r"(?<=[a-z0-9])\+(?!\w)", " plus ", text.lower())
    return tuple(re.findall(r"[a-z0-9]+", low))


class Devices:
    """All devices and boards, found by their names in words."""

    def __init__(self, data: PredictionData) -> None:
        self.data = data
        types = {
            kind: CoreType(kind, core["float_macs"], core["int8_macs"])
            for kind, core in data.cores.items()
        }
        self.hardware: dict[str, Hardware] = {}
        self._aliases: dict[tuple[str, ...], str] = {}
        tables: Mapping[str, Any] = {**data.boards, **data.devices}
        for name, table in tables.items():
            found = hardware_of(name, table, types)
            if name in data.boards and name not in data.devices:
                found = _uncalibrated(found)
            self.hardware[name] = found
            for alias in (*table.get("names", ()), name):
                self._aliases[words(alias)] = name

    def parameters(self) -> Parameters:
        """What was fitted, of all and of each device."""
        values = dict(self.data.fitted)
        for name, hardware in self.hardware.items():
            values.update({f"device.{name}.{key}": v for key, v in hardware.fitted.items()})
        return Parameters(values)

    def named(self, text: str, soc: str = "") -> Hardware:
        """The device that a text means, or else one with this system on a chip.

        Raises ``Unreadable``.
        """
        found = self._find(words(text), text)
        if found is None and soc:
            found = self._find(words(soc), soc)
        if found is None:
            raise Unreadable(f"no profile, and no known cores, for the device {text[:60]!r}")
        return self.hardware[found]

    def _find(self, said: tuple[str, ...], text: str) -> str | None:
        low = " ".join(said)
        if "micro" in said and ("coral" in said or "board" in said):
            raise Unreadable("a Cortex-M has no kernels of TensorFlow Lite to predict")
        coral = "usb" in said and ("coral" in said or "edgetpu" in said or "tpu" in said)
        if coral or "usb accelerator" in low:
            host = self._longest(said, lambda name: name.startswith("raspberry-pi"))
            if host is None:
                return "coral-usb"
            known = f"{host.removesuffix('-coral-usb')}-coral-usb"
            if known not in self.hardware:
                raise Unreadable(f"no profile of a Coral USB Accelerator on a {host}")
            return known
        return self._longest(said, lambda name: True)

    def _longest(self, said: tuple[str, ...], wanted: Any) -> str | None:
        best: tuple[int, str] | None = None
        for alias, name in self._aliases.items():
            if not wanted(name):
                continue
            for start in range(len(said) - len(alias) + 1):
                end = start + len(alias)
                if said[start:end] != alias:
                    continue
                # "pixel" is not "pixel 7", "pixel 4" is not "pixel 4 a".
                following = said[end] if end < len(said) else ""
                if re.fullmatch(r"\d+[a-z]?|[ab]|plus|pro|max", following) and not (
                    alias[-1].isalpha() and following == "4g"
                ):
                    continue
                if best is None or len(alias) > best[0]:
                    best = (len(alias), name)
        return best[1] if best else None


def _uncalibrated(hardware: Hardware) -> Hardware:
    from dataclasses import replace

    return replace(hardware, calibrated=False, family="")


#: Words of a backend -> accelerator, the first that is found.
_ACCELERATORS = (
    (r"google-?edgetpu|tensor tpu|neural core|pixel \d+ edge ?tpu", "npu"),
    (r"edge ?tpu|coral", "edgetpu"),
    (r"gpu|opencl|opengl", "gpu"),
    (r"nnapi", "nnapi"),
    (r"hexagon|dsp", "nnapi"),
    (r"cpu|xnnpack|tflite|tf ?lite|litert|ruy|default|interpreter", "cpu"),
)


def setting_of(published: Published, devices: Devices) -> Setting:
    """Device, backend and runtime of a row; raises ``Unreadable``."""
    low = published.backend.lower()
    accelerator = next((name for form, name in _ACCELERATORS if re.search(form, low)), None)
    if accelerator is None:
        raise Unreadable(f"no such backend: {published.backend[:60]!r}")
    said = words(published.device)
    # "Coral Dev Board CPU", "Desktop CPU": the processor beside an accelerator.
    if said and said[-1] == "cpu":
        accelerator = "cpu"
    hardware = devices.named(published.device, published.soc)
    # The TPU of a Pixel is asked for as an edgetpu too.
    if accelerator == "edgetpu" and hardware.edgetpu is None and "npu" in hardware.accelerators:
        accelerator = "npu"
    if accelerator == "npu" and "npu" not in hardware.accelerators:
        accelerator = "nnapi" if "nnapi" in hardware.accelerators else "npu"
    text = f"{published.backend} ; {published.notes}"
    runtime = Runtime.parse(text)
    if published.source.startswith("coral") and accelerator == "cpu":
        runtime = Runtime.parse(f"TFLite 1.15 ; {published.notes}")
    hardware = _clocked(hardware, text, accelerator)
    threads = _threads(published, hardware, accelerator)
    return Setting(hardware, Backend(accelerator, threads), runtime)


def _threads(published: Published, hardware: Hardware, accelerator: str) -> int:
    try:
        threads = int(float(published.threads))
    except (ValueError, OverflowError):
        threads = 0
    found = re.search(r"\b(\d{1,2}) threads?\b|\bthreads?[ =:]{1,2}(\d{1,2})\b|\bx ?(\d{1,2})$",
                      f"{published.notes} ; {published.backend}".lower())  # fmt: skip
    if threads < 1 and found:
        threads = int(next(group for group in found.groups() if group))
    if threads < 1 and re.search(r"multi-?thread", published.notes.lower()):
        threads = hardware.big
    if threads < 1:
        # Phones' published figures are of four threads; what says nothing ran the default: one.
        threads = 4 if accelerator == "cpu" and len(hardware.cores) > 1 else 1
    return min(threads, 256)


def _clocked(hardware: Hardware, text: str, accelerator: str) -> Hardware:
    """The device at the clock that a row states for its cores, or for its Edge TPU."""
    from dataclasses import replace

    found = re.search(r"\b(\d(?:\.\d+)?) ?ghz\b|\b(\d{3,4}) ?mhz\b", text.lower())
    if not found:
        return hardware
    ghz = float(found[1]) if found[1] else float(found[2]) / 1e3
    if accelerator == "edgetpu" and hardware.edgetpu is not None:
        if not 0.05 <= ghz <= 0.5:  # the chip's own clock is 500 MHz at most: this is a host's
            return hardware
        return replace(hardware, edgetpu=replace(hardware.edgetpu, mhz=ghz * 1e3))
    if accelerator != "cpu" or not 0.4 <= ghz <= 6 or len(hardware.cores) > 1:
        return hardware
    return replace(hardware, cores=tuple(Core(c.kind, c.count, ghz) for c in hardware.cores))


def known_names(devices: Devices) -> Iterable[str]:
    """Names of every device and board that can be predicted."""
    return sorted(devices.hardware)


__all__ = ["Devices", "Setting", "Unreadable", "dtype_of", "known_names", "setting_of", "words"]
