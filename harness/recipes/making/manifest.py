"""What is recorded of a variant: what determined it, how it was made, what is in it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConversionError
from harness.recipes.making.request import BuildRequest, converter_versions
from harness.simulation import Tensor, float_islands, parameters, per_tensor_weights, read_graph
from harness.simulation.elements import Graph, Subgraph

#: Operators that only carry values between types.
_CASTS = {"QUANTIZE", "DEQUANTIZE"}

#: What every converter gives one scale per channel; others leave dense layers per tensor.
_PER_CHANNEL = {"CONV_2D", "DEPTHWISE_CONV_2D"}


def manifest(request: BuildRequest, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What determined the variant, and the conversion's ``answer``."""
    chosen, calibration, training = request.chosen, request.calibration, request.training
    recipe = chosen.recipe
    found: dict[str, Any] = {
        "key": request.key(),
        "model_sha256": request.model.sha256,
        "model_format": request.model.format,
        "recipe": request.identity,
        "recipe_version": recipe.version,
        "parameters": dict(chosen.values),
        "preprocessing": request.preprocessing.as_json(),
        "labels": list(request.model.model.labels),
    }
    if not recipe.unchanged:
        found["converter"] = converter_versions(request)
    if recipe.needs_calibration and calibration:
        found["calibration_sha256"] = calibration.sha256
        found["calibration_samples"] = calibration.count
        found["calibration_findings"] = list(calibration.findings)
    if recipe.needs_training and training:
        found["training_sha256"] = training.sha256
        found["training_samples"] = training.count
        found["training_findings"] = list(training.findings)
    found.update({key: value for key, value in answer.items() if key not in ("id", "ok")})
    return found


def file_facts(path: Path) -> dict[str, Any]:
    """What the file itself tells: sizes in bytes, operators, types, inputs and outputs."""
    graph = read_graph(path)
    content = path.read_bytes()
    return {
        "size_bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
        "inputs": [_tensor(tensor) for tensor in graph.inputs],
        "outputs": [_tensor(tensor) for tensor in graph.outputs],
        "operators": len(graph.operators),
        "parameters_count": parameters(graph),
        "macs": graph.macs,
        "full_integer": graph.full_integer,
        "stateful": graph.stateful,
        "integer16_activations": graph.integer16_activations,
        "float_islands": [
            {"operators": list(island.operators), "names": list(island.names),
             "reason": island.reason}
            for island in float_islands(graph)
        ],
    }  # fmt: skip


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}


def refuse_broken_promise(request: BuildRequest, path: Path, what: str) -> None:
    """A full-integer recipe must leave nothing in float but the ends that it promises so.

    Every operator that computes works on integers, and weights have a scale per channel where
    that was asked for. Raises ``ConversionError`` with the operators that broke it.
    """
    recipe, values = request.chosen.recipe, request.chosen.values
    if not recipe.full_integer or values.get("partial"):
        return
    graph = read_graph(path)
    floats = [
        f"{operator.name} (operator {operator.index}{_of(part, graph)})"
        for part in graph.subgraphs
        for operator in part.operators
        if operator.name not in _CASTS and operator.activation.startswith(("float", "bfloat"))
    ]
    if not floats and recipe.integer_ends:
        floats = [f"the tensor {end.name}" for end in (*graph.inputs, *graph.outputs)
                  if end.floating]  # fmt: skip
    if floats:
        raise ConversionError(
            f"{what} left something in float: {_listed(floats)}",
            hint="int8_selective keeps named operators in float; dynamic_int8 all activations",
        )
    coarse = [
        f"{operator.name} (operator {operator.index})"
        for operator in per_tensor_weights(graph)
        if operator.name in _PER_CHANNEL
    ]
    if values.get("per_channel") and coarse:
        raise ConversionError(
            f"{what} left weights with one scale per tensor: {_listed(coarse)}",
            hint="per_channel=false asks for that",
        )


def _of(part: Subgraph, graph: Graph) -> str:
    return "" if part is graph.main else f" of {part.name or 'a subgraph'}"


def _listed(items: list[str]) -> str:
    return ", ".join(items[:8]) + (f" and {len(items) - 8} more" if len(items) > 8 else "")
