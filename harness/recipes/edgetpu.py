"""``edgetpu``: full integer, compiled for Coral's Edge TPU."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from harness.recipes.edgetpu_compiler import compile_for_edgetpu
from harness.recipes.int8 import RECIPE as INT8
from harness.recipes.recipe import Parameter, Recipe, Values


def _finish(made: Path, values: Values) -> dict[str, Any]:
    """Compile the int8 file in its place; raises what ``compile_for_edgetpu`` raises."""
    with tempfile.TemporaryDirectory(prefix="edgetpu-", dir=made.parent) as folder:
        source = Path(folder) / "model.tflite"
        os.replace(made, source)
        compiled = compile_for_edgetpu(source, Path(folder) / "out", attempts=values["attempts"])
        os.replace(compiled.path, made)
    log = compiled.log
    return {
        "edgetpu": {
            "compiler": log.version,
            "attempts": compiled.attempts,
            "operators": [
                {"name": row.operator, "count": row.count, "status": row.status} for row in log.rows
            ],
            "mapped": log.mapped,
            "subgraphs": log.subgraphs,
            "on_chip_used_bytes": log.on_chip_used_bytes,
            "on_chip_remaining_bytes": log.on_chip_remaining_bytes,
            "off_chip_bytes": log.off_chip_bytes,
        }
    }


RECIPE = Recipe(
    name="edgetpu",
    summary="int8, compiled for Coral's Edge TPU with edgetpu_compiler",
    parameters=(
        *INT8.parameters,
        Parameter("attempts", 3, "the compiler is known to fail and then to succeed", 1, 10),
    ),
    convert=INT8.convert,
    finish=_finish,
    needs_calibration=True,
)
