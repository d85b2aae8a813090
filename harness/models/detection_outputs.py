"""Which output of a detector is which."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from harness.errors import ConversionError

#: The operator's outputs in its own order (tensorflow/lite/kernels/detection_postprocess.cc).
ROLES = ("boxes", "classes", "scores", "count")

#: More boxes than this of one image are no detections.
MOST = 10_000

_OPERATOR = b"TFLite_Detection_PostProcess"


def detection_outputs(path: Path, outputs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Role -> place among the outputs, each ``{"name": ..., "shape": ...}``.

    Boxes are (1, n, 4), ``ymin, xmin, ymax, xmax`` in 0..1; classes and scores (1, n); count
    holds one number. Classes and scores look alike, so the file itself tells them apart:
    where its TFLite_Detection_PostProcess writes them; else their names, if they say so.
    Raises ``ConversionError`` for outputs that are not these four.
    """
    shapes = [[int(size) for size in output["shape"]] for output in outputs]
    boxes = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[-1] == 4]
    counts = [i for i, shape in enumerate(shapes) if len(shape) <= 1 and prod(shape) == 1]
    lists = [i for i, shape in enumerate(shapes) if len(shape) == 2]
    alike = len(boxes) == 1 and all(shapes[i][1] == shapes[boxes[0]][1] for i in lists)
    few = all(0 < shapes[i][1] <= MOST for i in boxes)
    if len(outputs) != 4 or not alike or not few or len(counts) != 1 or len(lists) != 2:
        raise ConversionError(
            f"its outputs {shapes} are not those of a detector",
            hint="detection needs boxes [1, n, 4], classes [1, n], scores [1, n] and their "
            "number [1], as TFLite_Detection_PostProcess gives them",
        )
    found = {"boxes": boxes[0], "count": counts[0]}
    written = _written(path)
    if written is not None and {written[1], written[2]} == set(lists):
        return {**found, "classes": written[1], "scores": written[2]}
    for word, other in (("score", "class"), ("class", "score")):
        named = [i for i in lists if word in str(outputs[i]["name"]).lower()]
        if len(named) == 1:
            rest = next(i for i in lists if i not in named)
            roles = {"score": "scores", "class": "classes"}
            return {**found, roles[word]: named[0], roles[other]: rest}
    raise ConversionError(
        f"nothing tells its classes from its scores: outputs {lists} are both {shapes[lists[0]]}",
        hint='name the outputs "classes" and "scores" when the model is converted',
    )


def _written(path: Path) -> list[int] | None:
    """The places of the operator's outputs among those of the graph, or ``None``."""
    from ai_edge_litert import schema_py_generated as tfl

    try:
        model = tfl.Model.GetRootAs(path.read_bytes(), 0)
        codes = [model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength())]
        graph = model.Subgraphs(0)
        places = {graph.Outputs(i): i for i in range(graph.OutputsLength())}
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            if codes[operator.OpcodeIndex()] == _OPERATOR:
                return [places.get(operator.Outputs(i), -1) for i in range(len(ROLES))]
    except (OSError, struct.error, IndexError, ValueError, TypeError, AttributeError):
        return None
    return None
