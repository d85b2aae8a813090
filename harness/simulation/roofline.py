"""A simple, documented cost model for simulated devices.

A profile with a ``[prediction]`` table has the time of an inference and of its operators from the
predictor (``harness.simulation.prediction``), and of the parameters below only those of loading,
memory and noise. This model is of profiles without.

Each operator takes the longer of computing and moving its bytes (S. Williams, A. Waterman,
D. Patterson, "Roofline", CACM 52(4), 2009), plus a fixed overhead:

    seconds(op) = max(macs / rate(type), bytes / bandwidth) + overhead

It ranks variants and fills the plumbing with plausible numbers; it is not a prediction,
and every record made with it is of kind ``simulated``.

Parameters (a profile's ``[simulation]`` table; the source of each stands in the profile):

    float_gmacs, int8_gmacs   GMAC/s of one thread, by arithmetic type
    int16_gmacs               GMAC/s of 16-bit activations (reference kernels)
    thread_scaling            share of a further thread's rate that is gained (0..1)
    cores                     threads past this number gain nothing
    bandwidth_gbs             memory, GB/s
    op_overhead_us            per operator
    invoke_overhead_us        per inference
    init_ms, init_ms_per_mb   loading: fixed, and per MB (1e6 bytes) of model
    memory_mb                 resident memory of an idle agent, MB
    noise_percent             spread of samples (log-normal, sigma)
    trial_noise_percent       spread between trials
    edgetpu_mhz               clock of an Edge TPU: 4096 MAC per cycle
    edgetpu_link_mbs          MB/s over its link: inputs, outputs, streamed parameters
    edgetpu_cache_mb          parameters it holds on chip, MB
    edgetpu_invoke_us         per inference: driver and link
    gpu_init_ms, nnapi_init_ms, npu_init_ms
                              preparing a delegate: compiling its kernels, on top of loading

A GPU, and what is behind NNAPI or another delegate, has no model here: its times come from the
predictor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.domain import Backend
from harness.errors import UnsupportedError
from harness.simulation.edgetpu import compiled
from harness.simulation.graph import Graph, Operator
from harness.simulation.prediction.simulated import modelled
from harness.simulation.version import FORM

#: What made a simulated record's times: this model, or the predictor where a profile has its table.
MODEL_VERSION = f"roofline-2, {FORM}"

#: Accelerators whose times are the predictor's alone.
DELEGATES = ("gpu", "nnapi", "npu")

_EDGETPU_MACS_PER_CYCLE = 4096


@dataclass(frozen=True, slots=True)
class Estimate:
    """Modelled costs of one variant: times in ns, memory in bytes.

    ``operator_ns`` has the part of ``invoke_ns`` that each operator of the graph takes, in their
    order; what is left of it is overhead of the invoke call, and transfers to an accelerator.
    ``delegated`` says of each whether the accelerator takes it; empty where that is not modelled.
    ``partitions`` are the pieces that the accelerator gets, ``delegate_ns`` what preparing it takes
    beside ``init_ns``.
    """

    init_ns: int
    first_ns: int
    invoke_ns: int
    memory_bytes: int
    operator_ns: tuple[float, ...] = ()
    delegated: tuple[bool, ...] = ()
    partitions: int = 0
    delegate_ns: int = 0


def estimate(
    graph: Graph, size_bytes: int, backend: Backend, profile: Mapping[str, Any]
) -> Estimate:
    """The modelled cost of one inference.

    Raises ``UnsupportedError`` for what the device cannot run by nature (an Edge TPU runs
    full-integer models only) and ``KeyError`` for a profile without a needed parameter.
    """
    if backend.accelerator == "edgetpu":
        _refuse_floats(graph)
    upload_s = 0.0
    delegated: tuple[bool, ...] = ()
    partitions = 0
    if "prediction" in profile:
        if compiled(graph):
            raise UnsupportedError(
                "this file is compiled for an Edge TPU: its package hides the operators",
                hint="give the file that it was compiled from",
            )
        found = modelled(graph, backend, profile["prediction"])
        seconds, parts, delegated = found.seconds, list(found.operators), found.delegated
        partitions = found.partitions
        if backend.accelerator == "edgetpu":
            chip = profile["prediction"]["edgetpu"]
            cached = min(graph.weight_bytes, chip["cache_mib"] * 2**20)
            upload_s = cached / (chip["link_mbs"] * 1e6)
    elif backend.accelerator in DELEGATES:
        raise UnsupportedError(f"no {backend.accelerator} is modelled without [prediction]")
    elif backend.accelerator == "edgetpu":
        seconds = _edgetpu(graph, profile)
        parts = [_edgetpu_compute(operator.macs, profile) for operator in graph.operators]
        cached = min(graph.weight_bytes, profile["edgetpu_cache_mb"] * 1e6)
        upload_s = cached / (profile["edgetpu_link_mbs"] * 1e6)
    else:
        gain = 1 + profile["thread_scaling"] * (min(backend.threads, profile["cores"]) - 1)
        parts = [_cpu(operator, gain, profile) for operator in graph.operators]
        seconds = profile["invoke_overhead_us"] * 1e-6 + sum(parts)
    # Cold caches and lazily packed weights; an Edge TPU first gets its parameters.
    first = seconds + upload_s if backend.accelerator == "edgetpu" else seconds * 3
    init = profile["init_ms"] * 1e-3 + profile["init_ms_per_mb"] * 1e-3 * size_bytes / 1e6
    memory = profile["memory_mb"] * 1e6 + 2 * size_bytes + 2 * graph.peak_activation_bytes
    return Estimate(
        int(init * 1e9),
        int(first * 1e9),
        int(seconds * 1e9),
        int(memory),
        tuple(part * 1e9 for part in parts),
        delegated,
        partitions,
        int(profile.get(f"{backend.accelerator}_init_ms", 0.0) * 1e6),
    )


def _cpu(operator: Operator, gain: float, profile: Mapping[str, Any]) -> float:
    if operator.activation == "int16":
        rate = profile["int16_gmacs"]
    elif "int8" in (operator.activation, operator.weight) or operator.activation == "uint8":
        rate = profile["int8_gmacs"] * gain
    else:
        rate = profile["float_gmacs"] * gain
    moved = operator.weight_bytes + operator.activation_bytes
    return float(
        max(operator.macs / (rate * 1e9), moved / (profile["bandwidth_gbs"] * 1e9))
        + profile["op_overhead_us"] * 1e-6
    )


def _refuse_floats(graph: Graph) -> None:
    if not graph.full_integer:
        kinds = sorted(
            ({op.activation for op in graph.operators} | set(graph.float_types))
            - {"int8", "uint8", "int32", "int64", "bool"}
        )
        raise UnsupportedError(
            f"an Edge TPU runs full-integer models only; this variant computes in "
            f"{', '.join(kinds)}",
            hint="use the recipe int8",
        )


def _edgetpu(graph: Graph, profile: Mapping[str, Any]) -> float:
    streamed = max(0.0, graph.weight_bytes - profile["edgetpu_cache_mb"] * 1e6)
    moved = graph.input_bytes + graph.output_bytes + streamed
    return float(
        profile["edgetpu_invoke_us"] * 1e-6
        + _edgetpu_compute(graph.macs, profile)
        + moved / (profile["edgetpu_link_mbs"] * 1e6)
    )


def _edgetpu_compute(macs: int, profile: Mapping[str, Any]) -> float:
    return float(macs / (_EDGETPU_MACS_PER_CYCLE * profile["edgetpu_mhz"] * 1e6))
