"""What detectors share: heads over several maps, and the operator that decodes boxes."""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.builder import Builder


def postprocess(b: Builder, boxes: int, scores: int, count: int = 10) -> list[int]:
    """``TFLite_Detection_PostProcess``: boxes, classes, scores and how many there are.

    It takes uint8 as it is; from int8 it is fed floats.
    """
    anchors = b.shape(boxes)[1]
    kept = "uint8" if b.dtype == "uint8" else "float32"
    constant = b.constant("anchors", (anchors, 4), kept)
    if b.dtype == "int8":
        boxes, scores = b.convert(boxes, "float32"), b.convert(scores, "float32")
    outputs = [
        b.tensor(f"detections_{part}", shape, "float32")
        for part, shape in enumerate(((1, count, 4), (1, count), (1, count), (1,)))
    ]
    b.operator("TFLite_Detection_PostProcess", [boxes, scores, constant], outputs, custom=True)
    return outputs


def joined(
    b: Builder, boxes: Sequence[int], scores: Sequence[int], classes: int, ranks: int = 3
) -> tuple[int, int]:
    """Maps of all levels as (1, anchors, 4) and (1, anchors, classes).

    With ``ranks`` of 4 boxes are (1, anchors, 1, 4) for a while, as in SSD.
    """
    codes = [b.reshape(x, (1, -1, 1, 4) if ranks == 4 else (1, -1, 4)) for x in boxes]
    kinds = [b.reshape(x, (1, -1, classes)) for x in scores]
    box = b.concat(codes, 1)
    if ranks == 4:
        box = b.reshape(box, (1, -1, 4))
    return box, b.concat(kinds, 1)


def detector_first(words: str) -> str:
    """The words of a name with ``ssd`` or ``ssdlite`` in front, wherever it stood."""
    for kind in ("ssdlite", "ssd"):
        if kind in words:
            return kind + words.replace(kind, "", 1)
    return words
