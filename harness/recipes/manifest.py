"""What is recorded of a variant: what determined it, how it was made, what is in it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConversionError
from harness.recipes.request import BuildRequest, converter_versions
from harness.simulation import read_graph

#: Operators that only carry values between types.
_CASTS = {"QUANTIZE", "DEQUANTIZE"}


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
    found.update({key: value for key, value in answer.items() if key not in ("id", "ok")})
    return found


def file_facts(path: Path) -> dict[str, Any]:
    """What the file itself tells: sizes in bytes, operators, types."""
    graph = read_graph(path)
    content = path.read_bytes()
    floats = sorted(
        {
            operator.name
            for operator in graph.operators
            if operator.activation in {"float32", "float16"} and operator.name not in _CASTS
        }
    )
    return {
        "size_bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
        "operators": len(graph.operators),
        "macs": graph.macs,
        "full_integer": graph.full_integer,
        "stateful": graph.stateful,
        "integer16_activations": graph.integer16_activations,
        "float_operators": ", ".join(floats),
    }


def refuse_broken_promise(request: BuildRequest, facts: Mapping[str, Any], what: str) -> None:
    """A full-integer recipe must leave no operator in float; raises ``ConversionError``."""
    if request.chosen.recipe.full_integer and facts["float_operators"]:
        raise ConversionError(
            f"{what} left operators in float: {facts['float_operators']}",
            hint="int8_selective keeps named operators in float; dynamic_int8 all activations",
        )
