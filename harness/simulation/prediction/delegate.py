"""Time of operators on a GPU, behind NNAPI, or on another neural processor.

    per piece:     a call's overhead, and the bytes that cross, over the link
    per operator:  its start + multiply-accumulates / (peak x share(class))
                   + bytes of activations and weights / memory

A neural processor is taken for an Edge TPU of its own peak: activations stay in its memory and
shapes fill its cells as they do there (``tpu``); every published row of one is of a Pixel's.
What it does not take runs on the processor, between the pieces.
"""

from __future__ import annotations

import numpy as np

from harness.simulation.prediction import tpu
from harness.simulation.prediction.classes import ARITHMETIC, CLASSES, Numbers, Work
from harness.simulation.prediction.hardware import Accelerator, Hardware, Runtime
from harness.simulation.prediction.parameters import Parameters

#: A GPU computes in 16-bit floats by default, so moves half of what 32-bit floats take.
_HALF = 0.5


def seconds(
    work: Work,
    hardware: Hardware,
    name: str,
    accelerator: Accelerator,
    runtime: Runtime,
    parameters: Parameters,
) -> Numbers:
    """Seconds of each operator on an accelerator; ``name`` is gpu, nnapi or npu."""
    own = parameters(f"device.{hardware.name}.{name}.rate") if hardware.calibrated else 1.0
    # A GPU computes integers as floats.
    integer = ~work.wide if name != "gpu" else np.zeros(len(work.macs), dtype=bool)
    peak = np.where(integer, accelerator.int8_gmacs, accelerator.float_gmacs) * 1e9 * own
    if name == "npu":
        inner: Numbers = tpu.inner_seconds(work, peak, parameters)
        return inner + parameters("npu.operator") * 1e-6
    half = name == "gpu" and runtime.half
    if name == "gpu" and not runtime.half:
        peak = peak * parameters("gpu.full")
    shares = np.array(
        [parameters(f"{name}.{kind}") if kind in ARITHMETIC else 1.0 for kind in CLASSES]
    )
    arithmetic = np.array([kind in ARITHMETIC for kind in CLASSES])[work.classes]
    compute = work.macs / (peak * shares[work.classes])
    size = np.where(work.wide & half, _HALF, 1.0)
    moved = (work.moved + np.where(arithmetic, work.weights, 0.0)) * size
    carry = moved / (accelerator.memory_gbs * parameters(f"{name}.memory") * 1e9)
    total: Numbers = compute + carry + parameters(f"{name}.operator") * 1e-6
    return total


def calls_seconds(
    hardware: Hardware,
    name: str,
    accelerator: Accelerator,
    pieces: int,
    crossing: int,
    parameters: Parameters,
) -> float:
    """Overhead of the calls and of what crosses in one inference."""
    own = parameters(f"device.{hardware.name}.{name}.invoke") if hardware.calibrated else 1.0
    each = parameters(f"{name}.invoke") * own * 1e-6
    return pieces * each + crossing / (accelerator.link_mbs * 1e6)
