"""From the words of a table to a device of ours, a backend, a runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.calibration.reading import Unreadable, threads_of
from harness.calibration.table import Published, dtype_of
from harness.config.prediction import PredictionData
from harness.config.processors import processors_dir
from harness.domain import Backend
from harness.errors import ConfigError
from harness.simulation.prediction import (
    Core,
    Hardware,
    Parameters,
    Runtime,
    hardware_of,
)
from harness.simulation.prediction.hardware import CoreType
from harness.simulation.prediction.parameters import is_shared
from harness.simulation.version import check_form


@dataclass(frozen=True, slots=True)
class Setting:
    """What a row was measured on."""

    hardware: Hardware
    backend: Backend
    runtime: Runtime


#: What is written in several ways, made one; what is not of a name, taken out.
_WAYS = tuple(
    (re.compile(form), instead)
    for form, instead in (
        (r"\b(?:32|64)[ -]?bit\b|\b\d{1,2} ?gb\b|@|\b\d(?:\.\d+)? ?ghz\b|\b\d{3,4} ?mhz\b", " "),
        (r"\braspberry[ _-]?pi|\brpi|^pi(?=[ _-]?\d)", "raspberry pi "),  # RPi4, Pi 4B
        (r"\bi[. ]?mx[ -]?(?=\d)", "imx "),
        (r"\bsd[ -]?(?=\d{3}\b)", "snapdragon "),
        (r"\b(pixel|snapdragon|galaxy)(?=\d)", r"\1 "),  # Pixel4
        (r"(?<=\d)xl\b", " xl"),
        (r"(?<=\d[ab])xl\b", " xl"),
        (r"\bdevboard\b", "dev board"),
        (r"(?<=[a-z0-9])\+(?!\w)", " plus "),
    )
)


def words(text: str) -> tuple[str, ...]:
    """Words of a name in lower case: ``RPi3B+`` is ``raspberry pi 3b plus``."""
    low = text.strip().lower().replace("_", " ")
    for form, instead in _WAYS:
        low = form.sub(instead, low)
    return tuple(re.findall(r"[a-z0-9]+", low))


class Devices:
    """All devices and boards, found by their names in words.

    ``fitted`` is whether what was fitted is to be used: raises ``ConfigError`` where it is of other
    formulas.
    """

    def __init__(self, data: PredictionData, *, fitted: bool = True) -> None:
        self.data = data
        if fitted:
            check_form(data.form)
        types = {
            kind: CoreType(
                kind, core["float_macs"], core["int8_macs"], core["scalar"], core["cache_mib"]
            )
            for kind, core in data.cores.items()
        }
        self.hardware: dict[str, Hardware] = {}
        self._aliases: dict[tuple[str, ...], str] = {}
        #: What two profiles are called.
        self._twice: dict[tuple[str, ...], tuple[str, str]] = {}
        tables: Mapping[str, Any] = {**data.boards, **data.devices}
        for name, table in tables.items():
            if name in data.broken:
                continue
            found = hardware_of(name, table, types)
            if name in data.boards and name not in data.devices:
                found = _uncalibrated(found)
            self.hardware[name] = found
            for alias in map(words, table.get("names", ())):
                other = self._aliases.get(alias)
                if other in data.devices and name in data.devices and other != name:
                    self._twice[alias] = (str(other), name)
                self._aliases[alias] = name
        for name in self.hardware:  # its own name is nobody else's
            self._aliases[words(name)] = name
            self._twice.pop(words(name), None)
        # What is meant for a broken profile must not be taken for another device.
        self._aliases.update({words(name): name for name in data.broken})

    def parameters(self) -> Parameters:
        """What was fitted, of all and of each device; raises ``ConfigError`` for what no formula
        reads, as a word that was misspelt by hand."""
        values = dict(self.data.fitted)
        for name in values:
            if not is_shared(name, self.data.cores):
                raise ConfigError(
                    f"{processors_dir() / 'fitted.toml'}: no parameter is called {name[:60]!r}",
                    hint="harness calibrate TABLE --write makes that file anew",
                )
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
        if found in self.data.broken:
            raise Unreadable(f"the profile of {found} is wrong: {self.data.broken[found].one_line}")
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
        best: tuple[int, str, tuple[str, ...]] | None = None
        for alias, name in self._aliases.items():
            if not wanted(name):
                continue
            for start in range(len(said) - len(alias) + 1):
                end = start + len(alias)
                if said[start:end] != alias:
                    continue
                # "pixel" is not "pixel 7", "pixel 4" is not "pixel 4 a".
                following = said[end] if end < len(said) else ""
                if re.fullmatch(r"\d+(?!x$)[a-z]?|[ab]|plus|pro|max", following) and not (
                    alias[-1].isalpha() and following == "4g"
                ):
                    continue
                if best is None or len(alias) > best[0]:
                    best = (len(alias), name, alias)
        if best and best[2] in self._twice:
            both = " and ".join(self._twice[best[2]])
            raise Unreadable(f"{' '.join(best[2])!r} is what two profiles are called: {both}")
        return best[1] if best else None


def _uncalibrated(hardware: Hardware) -> Hardware:
    from dataclasses import replace

    return replace(hardware, calibrated=False, family="")


#: Words of a backend -> accelerator, the first that is found.
_ACCELERATORS = (
    (r"google-?edgetpu|tensor tpu|neural core|pixel \d+ edge ?tpu", "npu"),
    (r"edge[ _-]?tpu|coral|\btpu\b", "edgetpu"),
    (r"gpu|opencl|opengl|vulkan|adreno|\bmali\b", "gpu"),
    (r"nn[ _-]?api", "nnapi"),
    (r"hexagon|dsp", "nnapi"),
    (r"\bnpu\b|neural", "npu"),
    (r"cpu|xnn[ _-]?pack|tflite|tf ?lite|tensorflow ?lite|litert|ruy|default|interpreter"
     r"|threads?\b|\bneon\b|cortex", "cpu"),
)  # fmt: skip

#: Runtimes whose kernels are others than those that were fitted.
FOREIGN = re.compile(
    r"onnx|\bort\b|torch|ncnn|\bmnn\b|tensorrt|\btrt\b|openvino|\btvm\b|core ?ml|snpe|\bqnn\b|"
    r"paddle|tengine|arm ?nn|rknn|hailo|ethos|vela|tim-?vx|vx[ _-]delegate|cmsis|tflite ?micro|tflm"
)


def setting_of(published: Published, devices: Devices) -> Setting:
    """Device, backend and runtime of a row; raises ``Unreadable``."""
    low = published.backend.lower()
    if foreign := FOREIGN.search(low):
        raise Unreadable(
            f"no such backend: {published.backend[:60]!r}: {foreign[0]} is not TensorFlow Lite"
        )
    accelerator = next((name for form, name in _ACCELERATORS if re.search(form, low)), None)
    if accelerator is None:
        raise Unreadable(f"no such backend: {published.backend[:60]!r}")
    said = words(published.device)
    # "Coral Dev Board CPU", "Desktop CPU": the processor beside an accelerator.
    if said and said[-1] == "cpu":
        accelerator = "cpu"
    hardware = devices.named(published.device, published.soc)
    # "Raspberry Pi 4" with "Coral USB", or with an Edge TPU, which it has over USB alone.
    beside = f"{hardware.name}-coral-usb"
    if accelerator == "edgetpu" and hardware.edgetpu is None and beside in devices.hardware:
        hardware = devices.hardware[beside]
    # The TPU of a Pixel is asked for as an edgetpu too.
    if accelerator == "edgetpu" and hardware.edgetpu is None and "npu" in hardware.accelerators:
        accelerator = "npu"
    if accelerator == "npu" and "npu" not in hardware.accelerators:
        accelerator = "nnapi" if "nnapi" in hardware.accelerators else "npu"
    text = f"{published.backend} ; {published.notes}"
    if stated := re.search(r"32[ -]?bit|armv7|armhf|@.*hz", published.device.lower()):
        text += f" ; {stated[0]}"
    runtime = Runtime.parse(text)
    hardware = _clocked(hardware, text, accelerator)
    threads = _threads(published, hardware) if accelerator == "cpu" else 1
    return Setting(hardware, Backend(accelerator, threads), runtime)


def _threads(published: Published, hardware: Hardware) -> int:
    found = threads_of(published.threads, published.backend, published.notes, hardware)
    if found is not None:
        return found
    # Phones' published figures are of four threads; what says nothing ran the default: one.
    return min(4, hardware.threads) if len(hardware.cores) > 1 else 1


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


__all__ = ["Devices", "Setting", "Unreadable", "dtype_of", "setting_of", "words"]
