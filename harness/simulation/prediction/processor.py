"""Time of operators on a processor.

An operator of a class, with a kernel, on ``n`` threads takes

    overhead + multiply-accumulates / (peak x share(class) x speed(core) x threads)
             + elements x cycles(class) / clock / threads
             + bytes x traffic / memory

The terms add up rather than the greatest counting alone: cores in order overlap little of
them, and of those out of order the fit decides by the parameters. ``threads`` is what is gained
by Amdahl's law over the sum of the cores' speeds (G. Amdahl, AFIPS 1967), the fastest first;
the memory has a rate for one thread and one for all (Williams, Waterman, Patterson, "Roofline",
CACM 52(4), 2009). Operators of the default kernels that are not arithmetic use one thread, as
their implementations do; XNNPACK shares out all that it has kernels for. Weights that the last
cache does not hold are read again, see ``_weights_read``.
"""

from __future__ import annotations

import numpy as np

from harness.simulation.prediction.classes import ARITHMETIC, CLASSES, Numbers, OperatorClass, Work
from harness.simulation.prediction.hardware import Core, Hardware, Kernel, Runtime
from harness.simulation.prediction.parameters import Parameters

_ARITHMETIC = np.array([kind in ARITHMETIC for kind in CLASSES])
_FREE = CLASSES.index(OperatorClass.FREE)
_POST = CLASSES.index(OperatorClass.POSTPROCESSING)
#: Output positions of a tile (XNNPACK's GEMMs for Arm: 4 to 6).
_ROWS = 4

_SEARCH = CLASSES.index(OperatorClass.SEARCH)


def seconds(
    work: Work, hardware: Hardware, threads: int, runtime: Runtime, parameters: Parameters
) -> Numbers:
    """Seconds of each operator on this processor."""
    taken = np.zeros(len(work.macs))
    # Narrow weights under wide activations: quantized on the fly, multiplied as integers.
    hybrid = work.wide & work.narrow_weights
    for mask, kernel, kind, arithmetic in (
        (work.wide & ~hybrid, runtime.float_kernel, "float", "float"),
        (hybrid, runtime.float_kernel, "float", "int8"),
        (~work.wide, runtime.int8_kernel, "int8", "int8"),
    ):
        if mask.any():
            taken[mask] = _seconds(
                work.chosen(mask), hardware, threads, runtime, parameters, kernel, kind, arithmetic
            )
    return taken


def _seconds(
    work: Work,
    hardware: Hardware,
    threads: int,
    runtime: Runtime,
    parameters: Parameters,
    kernel: Kernel,
    kind: str,
    arithmetic: str,
) -> Numbers:
    base = f"kernel.{kernel}.{kind}"
    used = fastest(hardware, threads)
    first = used[0]
    count = len(used)
    peak = sum(_peak(core, hardware, arithmetic, kernel, parameters) for core in used)
    one = _peak(first, hardware, arithmetic, kernel, parameters)
    clocks = sum(_clock(core, hardware, parameters) for core in used)
    clock = _clock(first, hardware, parameters)
    serial = parameters(f"{base}.serial") if count > 1 else 0.0
    speed = _device(hardware, f"cpu.{arithmetic}", parameters)
    if runtime.generation < 2023:
        speed *= parameters(f"generation.{kernel}.{min(2022, max(2019, runtime.generation))}")
    narrow = parameters(f"{base}.armv7") if runtime.bits == 32 else 1.0

    shares = np.ones(len(CLASSES))
    cycles = np.zeros(len(CLASSES))
    for index, name in enumerate(CLASSES):
        if _ARITHMETIC[index]:
            shares[index] = parameters(f"kernel.{kernel}.{arithmetic}.{name}")
            cycles[index] = parameters(f"{base}.element.arithmetic")
        elif index == _POST:
            cycles[index] = parameters("kernel.postprocessing")
        elif index != _FREE:
            cycles[index] = parameters(f"{base}.element.{name}")
    arithmetical = _ARITHMETIC[work.classes]
    shared = arithmetical | (kernel == Kernel.XNNPACK)
    shared &= (work.classes != _POST) & (work.classes != _SEARCH)  # XNNPACK has neither

    whole = 1.0 / (serial / one + (1.0 - serial) / peak)
    rate = whole * speed / narrow * 1e9
    if work.sixteen.any():
        reference = parameters("kernel.sixteen") / shares[work.classes]
        per_class = shares[work.classes] * np.where(work.sixteen, reference, 1.0)
        rates = np.where(work.sixteen, one * 1e9, rate) * per_class
    else:
        rates = rate * shares[work.classes]
    compute = work.macs / rates
    cores = 1.0 / (serial / clock + (1.0 - serial) / clocks)
    elements = (work.read + work.written) * cycles[work.classes] * narrow
    elements = elements + work.comparisons * parameters("kernel.comparison") * narrow
    each = elements / (np.where(shared, cores, clock) * speed * 1e9)

    all_bytes = hardware.memory_gbs * parameters("memory.share") * 1e9
    all_bytes *= _device(hardware, "memory", parameters)
    lone = all_bytes * parameters("memory.single")
    together = min(all_bytes, lone * count)
    traffic = parameters(f"{base}.traffic")
    weights = _weights_read(work, hardware.core_types[first.kind].cache_mib * 2**20)
    weights = work.weights + parameters(f"{base}.reread") * (weights - work.weights)
    moved = np.where(work.classes == _FREE, 0.0, work.moved * traffic) + np.where(
        arithmetical, weights, 0.0
    )
    carry = moved / np.where(shared, together, lone)

    joined = parameters(f"{base}.barrier") if count > 1 else 0.0
    start = parameters(f"{base}.operator") + joined * shared
    overhead = np.where(work.classes == _FREE, 0.2 * start, start) * 1e3 / (clock * 1e9)
    total: Numbers = compute + each + carry + overhead
    return total


def _weights_read(work: Work, cache: float) -> Numbers:
    """Bytes of weights that cross the memory bus where each tile of rows reads them all.

    A micro-kernel takes a few output positions at a time through all weights: those that no cache
    holds come from memory again for each. So a layer of many weights and positions scales poorly
    with threads, as the 3x3 predictors of a detector do.
    """
    tiles = np.ceil(work.positions / _ROWS)
    missed = np.maximum(0.0, 1.0 - cache / np.maximum(1.0, work.weights))
    read: Numbers = work.weights * (1.0 + (tiles - 1.0) * missed)
    return read


def invoke_seconds(hardware: Hardware, parameters: Parameters) -> float:
    """What one invoke call takes apart from its operators."""
    clock = _clock(hardware.cores[0], hardware, parameters)
    return parameters("kernel.invoke") * 1e3 / (clock * 1e9)


def fastest(hardware: Hardware, threads: int) -> list[Core]:
    """The cores that so many threads run on: the fastest first, at most all there are."""
    each = [Core(core.kind, 1, core.ghz) for core in hardware.cores for _ in range(core.count)]
    return each[: max(1, threads)]


def _device(hardware: Hardware, name: str, parameters: Parameters) -> float:
    return parameters(f"device.{hardware.name}.{name}") if hardware.calibrated else 1.0


def _peak(
    core: Core, hardware: Hardware, arithmetic: str, kernel: str, parameters: Parameters
) -> float:
    """GMAC/s that a core of this kind reaches where a kernel has share 1."""
    kind = hardware.core_types[core.kind]
    macs = kind.float_macs if arithmetic == "float" else kind.int8_macs
    factor = parameters(f"core.{core.kind}.{arithmetic}")
    factor *= parameters(f"core.{core.kind}.{kernel}.{arithmetic}")
    return macs * core.ghz * factor


def _clock(core: Core, hardware: Hardware, parameters: Parameters) -> float:
    """GHz for work by element, weighed by what the core does in one cycle."""
    scalar = hardware.core_types[core.kind].scalar
    return core.ghz * scalar * parameters(f"core.{core.kind}.element")
