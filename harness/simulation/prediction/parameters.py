"""The parameters of the model: what each may be, what it is before anything was measured.

A parameter's name says where it belongs: ``kernel.xnnpack.float.pointwise`` holds for every
device, ``core.cortex-a72.float`` for every device with that core, ``device.pixel-3.cpu.float``
for one. All are positive; what is fitted is their logarithm, held to ``value`` with the standard
deviation ``sigma`` (of the logarithm) and between ``low`` and ``high``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a parameter before any measurement, its bounds, and its meaning."""

    value: float
    sigma: float
    low: float
    high: float
    meaning: str


def _share(value: float, sigma: float = 0.4) -> Prior:
    return Prior(value, sigma, 0.01, 1.0, "share of the peak rate of the core's SIMD units")


def _cycles(value: float, sigma: float = 0.6) -> Prior:
    return Prior(value, sigma, 0.02, 300.0, "cycles of one core for each element")


def _factor(sigma: float, meaning: str) -> Prior:
    return Prior(1.0, sigma, 0.25, 4.0, meaning)


#: Kernel and data type -> class -> share of the peak. GEMM micro-kernels reach about half of
#: it; depthwise convolution, which reads a value for each multiplication, far less.
_SHARES = {
    "xnnpack.float": (0.45, 0.5, 0.15, 0.3),
    "xnnpack.int8": (0.45, 0.5, 0.12, 0.3),
    "default.float": (0.4, 0.4, 0.12, 0.3),
    "default.int8": (0.35, 0.35, 0.1, 0.3),
}

#: Kernel and data type -> cycles for each element of: arithmetic (packing its input, writing
#: its output), elementwise, pooling, resize, movement, activation, search. The default kernels'
#: integer element-wise operators are scalar in part, XNNPACK's are not. Resize and search are some
#: two times what was measured on an x86 core (of scalar speed 2) with LiteRT 2: a bilinear resize
#: to 513 x 513 x 21 took 2.8 cycles of floats and 8.1 of integers, XNNPACK's 1.0 of both;
#: ``ARG_MAX`` over it 0.9 and 2.2, for which XNNPACK has no kernel. Cycles are of its nominal
#: clock, which it exceeds.
_ELEMENTS = {
    "xnnpack.float": (0.6, 0.5, 0.6, 2.0, 0.5, 4.0, 2.0),
    "xnnpack.int8": (0.6, 0.5, 0.5, 2.0, 0.3, 1.0, 5.0),
    "default.float": (0.8, 1.0, 1.0, 6.0, 0.5, 10.0, 2.0),
    "default.int8": (1.0, 4.0, 1.0, 18.0, 0.3, 4.0, 5.0),
}

_ARITHMETIC = ("convolution", "pointwise", "depthwise", "dense")
_OTHERS = ("arithmetic", "elementwise", "pooling", "resize", "movement", "activation", "search")


def _kernels() -> dict[str, Prior]:
    found: dict[str, Prior] = {}
    for kernel, shares in _SHARES.items():
        base = f"kernel.{kernel}"
        for name, share in zip(_ARITHMETIC, shares, strict=True):
            found[f"{base}.{name}"] = _share(share)
        for name, cycles in zip(_OTHERS, _ELEMENTS[kernel], strict=True):
            found[f"{base}.element.{name}"] = _cycles(cycles)
        found[f"{base}.serial"] = Prior(
            0.06, 0.5, 0.002, 0.4, "share of arithmetic that one thread does alone (Amdahl)"
        )
        found[f"{base}.armv7"] = Prior(
            1.1, 0.2, 0.8, 2.0, "how much slower the kernels of a 32-bit system are"
        )
        found[f"{base}.traffic"] = Prior(
            1.5, 0.4, 0.3, 6.0, "times that an activation crosses the memory bus"
        )
        found[f"{base}.reread"] = Prior(
            0.25 if kernel.startswith("xnnpack") else 0.05, 0.7, 0.002, 2.0,
            "share of weights past the cache that each tile of rows reads again",
        )  # fmt: skip
        found[f"{base}.operator"] = Prior(
            6.0, 0.6, 0.5, 60.0, "thousand cycles to start one operator"
        )
        found[f"{base}.barrier"] = Prior(
            6.0, 0.6, 0.2, 60.0, "thousand cycles to join the threads of one operator"
        )
    found["kernel.postprocessing"] = _cycles(8.0, 0.4)
    found["kernel.comparison"] = Prior(
        15.0, 0.5, 2.0, 200.0, "cycles to hold two boxes against each other"
    )
    found["kernel.sixteen"] = Prior(
        0.03, 0.4, 0.002, 1.0, "share of the float peak that 16-bit reference kernels reach"
    )
    found["kernel.invoke"] = Prior(
        30.0, 0.6, 1.0, 600.0, "thousand cycles of one invoke call apart from its operators"
    )
    for year, value in ((2019, 0.9), (2020, 0.95), (2021, 0.95), (2022, 1.0)):
        for kernel in ("xnnpack", "default"):
            found[f"generation.{kernel}.{year}"] = Prior(
                value if kernel == "xnnpack" else min(1.0, value + 0.05),
                0.1, 0.5, 1.5, f"speed of that year's kernels, against today's ({kernel})",
            )  # fmt: skip
    found["memory.share"] = Prior(
        0.8, 0.3, 0.2, 1.5, "share of the memory's stated rate that all threads reach together"
    )
    found["memory.single"] = Prior(0.6, 0.3, 0.2, 1.0, "share of that which one thread reaches")
    return found


def _accelerators() -> dict[str, Prior]:
    found: dict[str, Prior] = {}
    # kind: shares of the peak by class, us to start an operator, us of a call
    for kind, shares, launch, invoke in (
        ("gpu", (0.25, 0.25, 0.06, 0.05), 8.0, 800.0),
        ("nnapi", (0.2, 0.2, 0.06, 0.05), 10.0, 1500.0),
        ("npu", (), 2.0, 300.0),  # its shares and memory are those of an Edge TPU
        ("edgetpu", (0.4, 0.4, 0.06, 0.05), 0.5, None),  # its calls are those of its link
    ):
        if shares:
            for name, share in zip(_ARITHMETIC, shares, strict=True):
                found[f"{kind}.{name}"] = Prior(
                    share, 0.35, 0.003, 1.0, "share of the accelerator's peak rate"
                )
            # What an Edge TPU's memory gives is told by no data sheet.
            known = (1.0, 0.7, 0.1, 8.0) if kind == "edgetpu" else (0.4, 0.4, 0.02, 1.5)
            found[f"{kind}.memory"] = Prior(
                *known, "share of its memory's rate that activations move at"
            )
        found[f"{kind}.operator"] = Prior(launch, 0.5, 0.05, 100.0, "microseconds per operator")
        if invoke is not None:
            found[f"{kind}.invoke"] = Prior(
                invoke, 0.4, 20.0, 5000.0, "microseconds to hand a partition over and wait for it"
            )
    found["gpu.full"] = Prior(0.6, 0.2, 0.3, 1.0, "rate in 32-bit floats, against 16-bit ones")
    # Chunks of results: EfficientDet-Lite0, which gives back 1.7 MB, was published with 440 to 525
    # ms on USB 2, 100 to 120 ms on a Raspberry Pi 4 (NobuoTsukamoto/benchmarks), 37 ms on a desktop
    # (Coral's page of models).
    for link, call, chunk in (
        ("usb3", 250.0, 12.0),
        ("usb3-pi", 1200.0, 30.0),
        ("usb2", 1200.0, 45.0),
        ("pcie", 250.0, None),
    ):
        found[f"link.{link}.invoke"] = Prior(
            call, 0.5, 20.0, 6000.0, "microseconds of one call over this link, empty"
        )
        if chunk is not None:
            found[f"link.{link}.chunk"] = Prior(
                chunk, 0.4, 1.0, 500.0, "microseconds of one transfer of results"
            )
    return found


PRIORS: dict[str, Prior] = {**_kernels(), **_accelerators()}


#: What a core has of its own, see ``processor``.
_OF_A_CORE = ("float", "int8", "element", "xnnpack.float", "xnnpack.int8", "default.float",
              "default.int8")  # fmt: skip


def is_shared(name: str, cores: Collection[str]) -> bool:
    """Whether a formula reads this parameter of no single device; ``cores`` are all types."""
    first, _, rest = name.partition(".")
    if first == "core":
        kind, _, part = rest.partition(".")
        return kind in cores and part in _OF_A_CORE
    if first == "link" and rest.endswith(".rate"):
        return name.removesuffix("rate") + "invoke" in PRIORS
    return name in PRIORS


def prior_of(name: str) -> Prior:
    """The prior of any parameter; those of a core or a device are factors about 1."""
    if name in PRIORS:
        return PRIORS[name]
    parts = name.split(".")
    if parts[0] == "core":
        # core.TYPE.float, core.TYPE.xnnpack.float, core.TYPE.element
        return _factor(0.2 if len(parts) > 3 else 0.3, "speed of this core, against its peak")
    if parts[0] == "link":
        return _factor(0.15, "rate of this link, against what the profile states")
    if parts[0] == "device":
        # A processor's parts are known better than what is behind a driver.
        sigma = {"cpu": 0.12, "memory": 0.12, "npu": 0.6}.get(_part(parts), 0.25)
        return _factor(sigma, "speed of this device, against its parts")
    raise KeyError(name)


def _part(parts: list[str]) -> str:
    """Of a device's parameter, what it is of; a device's name may have dots itself."""
    return parts[-1] if parts[-1] == "memory" else parts[-2]


class Parameters:
    """Fitted values over priors; a name that was never fitted has its prior's value."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        self.values: dict[str, float] = dict(values or {})

    def __call__(self, name: str) -> float:
        """The value of a parameter; raises ``KeyError`` for a name that is none."""
        found = self.values.get(name)
        if found is None:
            found = self.values[name] = prior_of(name).value
        return found
