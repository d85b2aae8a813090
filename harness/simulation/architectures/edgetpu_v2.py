"""MobileNet EdgeTPU V2: tiny, XS, S, M, L.

Source: the README and published definitions of the models. Grouped convolutions are SPLIT,
CONV_2D per group, CONCATENATION.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.efficientnet import fused_bottleneck
from harness.simulation.architectures.mobilenet import bottleneck
from harness.simulation.architectures.naming import Name

#: Filters and window of the stem, filters of the head, of the stages; filters of a group.
_FORMS = {
    "tiny": (32, 5, 1280, (16, 32, 48, 80, 112, 160, 192), 64),
    "xs": (32, 5, 1280, (16, 32, 48, 96, 144, 160, 192), 64),
    "s": (64, 5, 1280, (24, 48, 64, 128, 160, 192, 256), 64),
    "m": (64, 5, 1344, (32, 64, 80, 160, 192, 240, 320), 64),
    "l": (64, 7, 1408, (32, 64, 96, 192, 240, 256, 384), 128),
}

_FUSED, _GROUPED, _DEPTHWISE = "fused", "grouped", "depthwise"

#: Per stage: kind, expansion, stride of each block.
_STAGES = (
    ((_FUSED, 1, 1),),
    ((_FUSED, 8, 2), (_GROUPED, 4, 1)),
    ((_FUSED, 8, 2), (_GROUPED, 4, 1), (_FUSED, 4, 1), (_GROUPED, 4, 1)),
    ((_FUSED, 8, 2), *((_DEPTHWISE, 4, 1),) * 3),
    ((_DEPTHWISE, 8, 1), *((_DEPTHWISE, 4, 1),) * 3),
    ((_DEPTHWISE, 8, 2), *((_DEPTHWISE, 4, 1),) * 3),
    ((_DEPTHWISE, 8, 1),),
)

#: Blocks (stage, place) that are grouped in the tiny form only.
_TINY = {(2, 0), (2, 2), (3, 0)}


def _grouped(b: Builder, x: int, filters: int, expanded: int, stride: int, size: int) -> int:
    y = b.grouped(x, expanded, expanded // size, 3, stride, "relu")
    y = b.conv(y, filters)
    return b.add(y, x) if stride == 1 and filters == b.channels(x) else y


def _body(form: str) -> Body:
    stem, kernel, head, widths, group = _FORMS[form]

    def body(b: Builder) -> Sequence[int]:
        x = b.conv(b.input, stem, kernel, 2, "relu")
        for number, (blocks, filters) in enumerate(zip(_STAGES, widths, strict=True)):
            for place, (kind, expansion, stride) in enumerate(blocks):
                expanded = b.channels(x) * expansion
                if form == "tiny" and (number, place) in _TINY:
                    kind = _GROUPED
                if expansion == 1:
                    # Nothing to expand: only the projection is left.
                    x = b.conv(x, filters)
                elif kind == _GROUPED:
                    x = _grouped(b, x, filters, expanded, stride, group)
                elif kind == _FUSED:
                    x = fused_bottleneck(b, x, filters, expanded, stride)
                else:
                    x, _ = bottleneck(b, x, filters, expanded, stride, act="relu")
        x = b.global_pool(b.conv(x, head, act="relu"))
        return [b.softmax(b.reshape(b.conv(x, 1001), (1, 1001)))]

    return body


_WORDS = {"extrasmall": "xs", "small": "s", "medium": "m", "large": "l", "": "s"}


def find(name: Name) -> Architecture | None:
    """``mobilenet_edgetpu_v2_tiny``, ``..._xs``, ``..._s``, ``..._m``, ``..._l``."""
    stem = "mobilenetedgetpuv2"
    if not name.words.startswith(stem):
        return None
    form = name.words.removeprefix(stem)
    form = _WORDS.get(form, form)
    if form not in _FORMS:
        return None
    family = "mobilenet_edgetpu_v2"
    return at_side(f"{family}_{form}", family, _body(form), name.numbers, 224)


NAMES = tuple(f"mobilenet_edgetpu_v2_{form}" for form in _FORMS)
