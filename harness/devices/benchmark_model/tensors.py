"""What a ``.tflite`` on this machine takes and gives, and samples as the bytes of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_agents.python import wire
from harness.domain import Preprocessing, TensorSpec
from harness.errors import AgentReportedError, ModelError
from harness.models.preprocess import fits, to_tensor
from harness.simulation import read_graph
from harness.simulation.elements import Tensor


@dataclass(frozen=True, slots=True)
class Tensors:
    """Inputs and outputs in the runtime's order, and how many operators lie between."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: int

    def as_message(self, init_us: int) -> dict[str, Any]:
        """The ``loaded`` message of PROTOCOL.md; the tool times loading as a whole."""
        return {
            "type": "loaded",
            "load_ns": 0,
            "init_ns": init_us * 1000,
            "inputs": [_as_json(spec) for spec in self.inputs],
            "outputs": [_as_json(spec) for spec in self.outputs],
        }


def read_tensors(path: Path, device: str) -> Tensors:
    """The tensors of a variant; raises ``AgentReportedError``."""
    try:
        graph = read_graph(path)
    except ModelError as error:
        raise AgentReportedError(f"{device}: {path.name}: {error.message}") from None
    main = graph.subgraphs[0]
    return Tensors(
        tuple(_spec(main.tensors[index]) for index in main.inputs),
        tuple(_spec(main.tensors[index]) for index in main.outputs),
        len(main.operators),
    )


def size_of(spec: TensorSpec, device: str) -> int:
    """Bytes of one tensor; raises ``AgentReportedError`` where the file does not tell."""
    if spec.dtype not in wire.DTYPES or any(size < 1 for size in spec.shape):
        raise AgentReportedError(
            f"{device}: benchmark_model cannot feed or save the tensor {spec.name[:100]!r} of "
            f"type {spec.dtype} and shape {list(spec.shape)}",
            hint="run this variant with an agent",
        )
    return prod(spec.shape) * np.dtype(spec.dtype).itemsize


def input_bytes(
    samples: NDArray[Any], preprocessing: Mapping[str, Any], spec: TensorSpec, device: str
) -> bytes:
    """Stored samples (n, ...) as the raw bytes of n inputs, bit for bit what an agent feeds."""
    size_of(spec, device)
    if not spec.shape or spec.shape[0] != 1:
        raise AgentReportedError(
            f"{device}: the model's input has a fixed batch of {list(spec.shape)}, not 1",
            hint="convert the model with a batch of 1",
        )
    if not fits(tuple(samples.shape[1:]), spec.shape[1:]):
        raise AgentReportedError(
            f"{device}: samples of shape {list(samples.shape[1:])} do not fit the model's input "
            f"{list(spec.shape[1:])}"
        )
    chosen = Preprocessing(
        float(preprocessing.get("scale", 1.0)),
        tuple(preprocessing.get("mean", (0.0,))),
        tuple(preprocessing.get("std", (1.0,))),
    )
    return np.ascontiguousarray(to_tensor(samples, chosen, spec)).tobytes()


def split_outputs(
    data: bytes, count: int, specs: tuple[TensorSpec, ...], device: str
) -> list[NDArray[Any]]:
    """The joined outputs of ``count`` runs as one array (count, ...) per tensor."""
    sizes = [size_of(spec, device) for spec in specs]
    rows = np.frombuffer(data, np.uint8).reshape(count, sum(sizes))
    found, begin = [], 0
    for spec, size in zip(specs, sizes, strict=True):
        part = np.ascontiguousarray(rows[:, begin : begin + size])
        rest = spec.shape[1:] if spec.shape[:1] == (1,) else (prod(spec.shape),)
        found.append(part.view(spec.dtype).reshape(count, *rest))
        begin += size
    return found


def _spec(tensor: Tensor) -> TensorSpec:
    quantization = tensor.quantization
    scale, zero_point = 0.0, 0
    if quantization is not None and len(quantization.scales) == 1:
        scale = quantization.scales[0]
        zero_point = quantization.zero_points[0] if quantization.zero_points else 0
    return TensorSpec(tensor.name[:500], tensor.shape, tensor.dtype, scale, zero_point)


def _as_json(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "scale": spec.scale,
        "zero_point": spec.zero_point,
    }
