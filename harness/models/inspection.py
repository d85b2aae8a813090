"""What is in a ``.tflite`` file, as JSON values; ``inspection_table`` shows it to people."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cache import file_sha256
from harness.domain import Model
from harness.errors import ModelError
from harness.models import READERS
from harness.models.reader import first_bytes
from harness.simulation.analysis import float_islands, parameters, per_tensor_weights
from harness.simulation.edgetpu import OperatorMapping, compiled, map_operators
from harness.simulation.graph import Graph, Operator, Quantization, Tensor, read_graph

#: The metadata entry in which the converter says which runtime the file needs.
_RUNTIME = "min_runtime_version"


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file that was read: its graph, and what an Edge TPU would make of it."""

    path: Path
    sha256: str
    size_bytes: int
    graph: Graph
    mapping: tuple[OperatorMapping, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        graph = self.graph
        return {
            "file": str(self.path),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "schema_version": graph.schema_version,
            "description": graph.description,
            "runtime": self.runtime,
            "inputs": [_tensor(tensor) for tensor in graph.inputs],
            "outputs": [_tensor(tensor) for tensor in graph.outputs],
            "parameters": parameters(graph),
            "macs": graph.macs,
            "weight_bytes": graph.weight_bytes,
            "peak_activation_bytes": graph.peak_activation_bytes,
            "full_integer": graph.full_integer,
            "stateful": graph.stateful,
            "subgraphs": len(graph.subgraphs),
            "float_islands": [
                {
                    "operators": list(island.operators),
                    "names": list(island.names),
                    "reason": island.reason,
                }
                for island in float_islands(graph)
            ],
            "per_tensor_weights": [operator.index for operator in per_tensor_weights(graph)],
            "edgetpu": self.edgetpu,
            "signatures": [
                {
                    "key": signature.key,
                    "subgraph": signature.subgraph,
                    "inputs": dict(signature.inputs),
                    "outputs": dict(signature.outputs),
                }
                for signature in graph.signatures
            ],
            "metadata": [
                {"name": entry.name, "bytes": len(entry.data)} for entry in graph.metadata
            ],
            "operators": [
                _operator(graph, operator, mapped)
                for operator, mapped in zip(graph.operators, self.mapping, strict=True)
            ],
            "tensors": [_tensor(tensor) for tensor in graph.tensors],
        }

    @property
    def runtime(self) -> str | None:
        """The oldest runtime that runs the file, as its converter states it."""
        for entry in self.graph.metadata:
            if entry.name == _RUNTIME:
                return entry.data.rstrip(b"\0").decode("ascii", "replace")[:40] or None
        return None

    @property
    def edgetpu(self) -> dict[str, Any]:
        """How many operators the Edge TPU compiler would map, and which not."""
        on_cpu = [item for item in self.mapping if not item.mapped]
        return {
            "compiled": compiled(self.graph),
            "mapped": len(self.mapping) - len(on_cpu),
            "total": len(self.mapping),
            "operators_on_cpu": [
                {"index": item.index, "name": item.name, "reason": item.reason} for item in on_cpu
            ],
        }


def inspect_file(path: Path) -> Inspection:
    """Read a ``.tflite`` file; raises ``ModelError`` for any other."""
    if not os.path.exists(path):
        raise ModelError(f"there is no file {path}")
    try:
        if not path.is_file() or first_bytes(path, 8)[4:8] != b"TFL3":
            raise _foreign(path)
        graph = read_graph(path)
        return Inspection(path, file_sha256(path), path.stat().st_size, graph, map_operators(graph))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    except ModelError as error:
        if str(path) in error.message:
            raise
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from None


def _foreign(path: Path) -> ModelError:
    for reader in READERS.values():
        if reader.load is not None and reader.claims(str(path), path):
            try:
                reader.check(Model("model", str(path), ""), path)
            except ModelError:
                break
            return ModelError(
                f"{path} is a model to be converted ({reader.title}), not a .tflite file",
                hint=f"make one first: harness convert {path}",
            )
    return ModelError(
        f"{path} is not a TensorFlow Lite file: the identifier TFL3 is missing",
        hint="is it a .tflite file, and was it copied in binary?",
    )


def _operator(graph: Graph, operator: Operator, mapped: OperatorMapping) -> dict[str, Any]:
    made = [graph.tensors[index] for index in operator.made]
    return {
        "index": operator.index,
        "name": operator.name,
        "version": operator.version,
        "custom": operator.custom,
        "edgetpu": mapped.mapped,
        "reason": mapped.reason,
        "inputs": list(operator.inputs),
        "outputs": list(operator.outputs),
        "shape": list(made[0].shape) if made else [],
        "dtype": made[0].dtype if made else None,
        "macs": operator.macs,
        "weight_bytes": operator.weight_bytes,
        "activation_bytes": operator.activation_bytes,
        "options": _plain(operator.options),
        "custom_options_bytes": operator.custom_options_bytes,
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "index": tensor.index,
        "name": tensor.name,
        "shape": list(tensor.shape),
        "shape_signature": list(tensor.shape_signature),
        "dtype": tensor.dtype,
        "bytes": tensor.bytes,
        "constant": tensor.constant,
        "variable": tensor.variable,
        "quantization": _quantization(tensor.quantization),
    }


def _quantization(quantization: Quantization | None) -> dict[str, Any] | None:
    if quantization is None:
        return None
    return {
        "scales": _plain(quantization.scales),
        "zero_points": list(quantization.zero_points),
        "axis": quantization.axis if quantization.per_axis else None,
        "block_size": quantization.block_size or None,
    }


def _plain(value: Any) -> Any:
    """JSON has no infinities; a foreign file may."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
