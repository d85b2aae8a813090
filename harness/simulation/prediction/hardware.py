"""What a device is made of, as its profile's ``[prediction]`` table says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Core:
    """``count`` cores of one type at ``ghz``; ``kind`` as in ``profiles/processors``."""

    kind: str
    count: int
    ghz: float


@dataclass(frozen=True, slots=True)
class CoreType:
    """Multiply-accumulates per cycle that a core's SIMD units can start, by data type.

    ``int8_macs`` has the rate of dot-product instructions where the core knows them; ``scalar``
    is what it does in one cycle of code that is not SIMD, against a Cortex-A72. ``cache_mib`` is
    the last cache that it has for itself or its cluster.
    """

    kind: str
    float_macs: float
    int8_macs: float
    scalar: float = 1.0
    cache_mib: float = 1.0


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU, a neural processor behind NNAPI, or another: peak rates in GMAC/s, link in MB/s.

    ``kind`` says what it is: what is fitted is shared by all GPUs, or all that NNAPI stands for.
    """

    kind: str
    float_gmacs: float
    int8_gmacs: float
    memory_gbs: float
    link_mbs: float


@dataclass(frozen=True, slots=True)
class EdgeTpu:
    """A Coral Edge TPU: its clock, its link, and how much of parameters it keeps on chip."""

    mhz: float
    link: str
    link_mbs: float
    cache_mib: float


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device. ``fitted`` holds its own parameters, by name without the device's."""

    name: str
    cores: tuple[Core, ...]
    memory_gbs: float
    core_types: Mapping[str, CoreType]
    fitted: Mapping[str, float] = field(default_factory=dict)
    accelerators: Mapping[str, Accelerator] = field(default_factory=dict)
    edgetpu: EdgeTpu | None = None
    family: str = ""
    #: Whether it was calibrated, or only put together from its cores.
    calibrated: bool = True

    @property
    def threads(self) -> int:
        """How many cores there are."""
        return sum(core.count for core in self.cores)

    @property
    def big(self) -> int:
        """How many cores are of the fast kinds: all but the last cluster of several."""
        return fast_cores([core.count for core in self.cores])


def fast_cores(clusters: Sequence[int]) -> int:
    """Of so many cores in each cluster, the fastest first: all but the last cluster of several."""
    return sum(clusters[:-1] or clusters)


class Kernel(StrEnum):
    """Which kernels a runtime's CPU path uses for a data type."""

    XNNPACK = "xnnpack"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What executes on the CPU: kernels by data type, their generation, and the OS's width.

    ``generation`` is the year from which the kernels are.
    """

    float_kernel: Kernel = Kernel.XNNPACK
    int8_kernel: Kernel = Kernel.XNNPACK
    generation: int = 2024
    bits: int = 64
    half: bool = True

    @classmethod
    def parse(cls, text: str) -> Runtime:
        """A runtime from free text: ``TFLite 2.5.0 CPU (default int8 kernels)``, ``litert 2``.

        A release from 2.13 on uses XNNPACK for floats and integers; before, for floats where
        the text says so; without a release, TensorFlow Lite or Android is of 2020. What names none
        of this is a present release.
        """
        low = text.lower()
        bits = 32 if re.search(r"32[- ]?bit|armv7|armhf|arm32", low) else 64
        half = "precision_loss_allowed=false" not in low and "fp32" not in low
        found = re.search(r"(?:tflite|litert|tensorflow|runtime)\D{0,12}?(\d+)\.(\d+)", low)
        release = (int(found[1]), int(found[2])) if found else None
        year = re.search(r"\b(20[12]\d)-\d\d", low)
        if "xnnpack" in low and release is None:
            return cls(generation=int(year[1]) if year else 2024, bits=bits, half=half)
        if release is not None and "litert" not in low and release < (2, 13):
            xnnpack = "xnnpack" in low
            return cls(
                Kernel.XNNPACK if xnnpack else Kernel.DEFAULT,
                Kernel.DEFAULT,
                2021 if release >= (2, 3) else 2019,
                bits,
                half,
            )
        if release is not None:
            return cls(bits=bits, half=half)
        if re.search(r"tflite|android|tf lite|tensorflow lite", low):
            return cls(Kernel.DEFAULT, Kernel.DEFAULT, 2020, bits, half)
        return cls(bits=bits, half=half)


def hardware_of(
    name: str, table: Mapping[str, Any], core_types: Mapping[str, CoreType]
) -> Hardware:
    """Hardware from a checked ``[prediction]`` table."""
    edgetpu = table.get("edgetpu")
    return Hardware(
        name=name,
        cores=tuple(Core(c["type"], c["count"], c["ghz"]) for c in table["cores"]),
        memory_gbs=table["memory_gbs"],
        core_types=core_types,
        fitted=dict(table.get("fitted") or {}),
        accelerators={
            key: Accelerator(
                table[key]["type"],
                table[key]["float_gmacs"],
                table[key]["int8_gmacs"],
                table[key].get("memory_gbs") or table["memory_gbs"],
                table[key].get("link_mbs") or 1e3 * table["memory_gbs"],
            )
            for key in ("gpu", "nnapi", "npu")
            if table.get(key)
        },
        edgetpu=EdgeTpu(edgetpu["mhz"], edgetpu["link"], edgetpu["link_mbs"], edgetpu["cache_mib"])
        if edgetpu
        else None,
        family=table.get("family") or name,
    )
