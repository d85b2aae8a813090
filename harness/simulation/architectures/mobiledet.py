"""SSDLite over MobileDet, for CPUs, Edge TPUs and DSPs.

Source: arXiv 2004.14525 (figures of the three backbones) and their published definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.detection import detector_first
from harness.simulation.architectures.mobilenet_v3 import conv
from harness.simulation.architectures.naming import Name, side_text, sizes
from harness.simulation.architectures.ssd import extended, heads


class _Blocks:
    """Blocks of one backbone: its activation, and whether they squeeze and excite."""

    def __init__(self, b: Builder, act: str, excite: bool) -> None:
        self.b, self.act, self.excite = b, act, excite

    def depthwise(self, x: int, kernel: int, stride: int) -> int:
        b = self.b
        if self.act == "hard_swish":
            return b.unary("HARD_SWISH", b.depthwise(x, kernel, stride))
        return b.depthwise(x, kernel, stride, self.act)

    def project(self, x: int, y: int, filters: int, excited: int, skip: bool) -> int:
        b = self.b
        if self.excite:
            gate = b.mean(y, keep=True)
            gate = conv(b, gate, excited, act=self.act)
            y = b.mul(y, b.unary("LOGISTIC", b.conv(gate, b.channels(y))))
        y = b.conv(y, filters)
        return b.add(y, x) if skip else y

    def plain(self, x: int, filters: int) -> int:
        """Without expansion."""
        y = self.depthwise(x, 3, 1)
        return self.project(x, y, filters, rounded(self.b.channels(x) / 4), False)

    def ibn(
        self, x: int, filters: int, expansion: int, kernel: int = 3, stride: int = 1, skip: int = 1
    ) -> int:
        """An inverted bottleneck."""
        expanded = self.b.channels(x) * expansion
        y = self.depthwise(conv(self.b, x, expanded, act=self.act), kernel, stride)
        return self.project(x, y, filters, rounded(expanded / 4), bool(skip and stride == 1))

    def fused(
        self, x: int, filters: int, expansion: int, kernel: int = 3, stride: int = 1, skip: int = 1
    ) -> int:
        """One whose expansion is a full convolution."""
        y = self.b.conv(x, self.b.channels(x) * expansion, kernel, stride, self.act)
        return self.project(x, y, filters, 0, bool(skip and stride == 1))

    def tucker(self, x: int, filters: int, first: float, second: float, skip: int = 1) -> int:
        """A convolution between two that compress."""
        b = self.b
        y = b.conv(x, rounded(b.channels(x) * first), act=self.act)
        y = b.conv(y, rounded(filters * second), 3, act=self.act)
        return self.project(x, y, filters, 0, bool(skip))


def _cpu(b: Builder) -> list[int]:
    net = _Blocks(b, "hard_swish", excite=True)
    x = conv(b, b.input, 16, 3, 2, "hard_swish")
    x = net.ibn(net.plain(x, 8), 16, 4, stride=2)
    x = net.ibn(x, 32, 8, stride=2)
    for _ in range(3):
        x = net.ibn(x, 32, 4)
    x = net.ibn(x, 72, 8, 5, 2)
    x = net.ibn(net.ibn(net.ibn(x, 72, 8), 72, 4, 5), 72, 4)
    x = net.ibn(x, 72, 8, skip=0)
    for _ in range(3):
        x = net.ibn(x, 72, 8)
    middle = x
    x = net.ibn(x, 104, 8, 5, 2)
    x = net.ibn(net.ibn(net.ibn(x, 104, 4, 5), 104, 4, 5), 104, 4)
    return [middle, net.ibn(x, 144, 8, skip=0)]


def _edgetpu(b: Builder) -> list[int]:
    net = _Blocks(b, "relu6", excite=False)
    x = b.conv(b.input, 32, 3, 2, "relu6")
    x = net.tucker(x, 16, 0.25, 0.75, skip=0)
    x = net.fused(x, 16, 8, stride=2)
    x = net.fused(net.fused(net.fused(x, 16, 4), 16, 8), 16, 4)
    x = net.fused(x, 40, 8, 5, 2)
    for _ in range(3):
        x = net.fused(x, 40, 4)
    x = net.ibn(net.ibn(x, 72, 8, stride=2), 72, 8)
    x = net.fused(net.fused(x, 72, 4), 72, 4)
    x = net.ibn(net.ibn(x, 96, 8, 5, skip=0), 96, 8, 5)
    middle = x = net.ibn(net.ibn(x, 96, 8), 96, 8)
    x = net.ibn(net.ibn(x, 120, 8, 5, 2), 120, 8)
    x = net.ibn(net.ibn(x, 120, 4, 5), 120, 8)
    return [middle, net.ibn(x, 384, 8, 5, skip=0)]


def _dsp(b: Builder) -> list[int]:
    net = _Blocks(b, "relu6", excite=False)
    x = b.conv(b.input, 32, 3, 2, "relu6")
    x = net.fused(net.plain(x, 24), 32, 4, stride=2)
    x = net.ibn(net.fused(x, 32, 4), 32, 4)
    x = net.tucker(x, 32, 0.25, 0.75)
    x = net.ibn(net.fused(x, 64, 8, stride=2), 64, 4)
    x = net.fused(net.fused(x, 64, 4), 64, 4)
    x = net.ibn(net.fused(x, 120, 8, stride=2), 120, 4)
    x = net.ibn(net.ibn(x, 120, 8), 120, 8)
    x = net.fused(x, 144, 8, skip=0)
    for _ in range(3):
        x = net.ibn(x, 144, 8)
    middle = x
    x = net.fused(net.ibn(net.ibn(x, 160, 4, stride=2), 160, 4), 160, 4)
    x = net.tucker(x, 160, 0.75, 0.75)
    return [middle, net.ibn(x, 240, 8, skip=0)]


_BACKBONES: dict[str, Callable[[Builder], list[int]]] = {
    "cpu": _cpu,
    "edgetpu": _edgetpu,
    "dsp": _dsp,
}


def _body(backbone: Callable[[Builder], list[int]]) -> Body:
    def body(b: Builder) -> Sequence[int]:
        return heads(b, extended(b, backbone(b), 1.0, lite=True), 91, lite=True)

    return body


def find(name: Name) -> Architecture | None:
    """``ssdlite_mobiledet`` (of the Edge TPU), ``ssdlite_mobiledet_cpu``, ``..._dsp``."""
    words = detector_first(name.words).removeprefix("ssdlite").removeprefix("ssd")
    if not words.startswith("mobiledet"):
        return None
    target = words.removeprefix("mobiledet") or _target(name.whole)
    found = sizes(name.numbers, side=320)
    if target not in _BACKBONES or found is None or found[0] != 1:
        return None
    rows, columns = found[1]
    return Architecture(
        f"ssdlite_mobiledet_{target}_{side_text(rows, columns)}",
        "ssdlite_mobiledet",
        (1, rows, columns, 3),
        _body(_BACKBONES[target]),
    )


def _target(whole: str) -> str:
    return next((target for target in _BACKBONES if target in whole.split("_")), "edgetpu")


NAMES = tuple(f"ssdlite_mobiledet_{target}_320" for target in _BACKBONES)
