"""Inception V1 to V4 and Inception-ResNet V2, as TF-Slim has them.

Sources: arXiv 1409.4842 (V1; its 5x5 windows are 3x3 here), 1502.03167 (V2), 1512.00567
(V3), 1602.07261 (V4, Inception-ResNet). A window is ``filters`` (1x1) or (filters, rows,
columns, stride, padding); a pool is a name with rows, stride and padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.simulation.architectures.architecture import Architecture, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.mobilenet import classify
from harness.simulation.architectures.naming import Name

Step = Any

_HALVE = ("max", 3, 2, "valid")
_AVERAGE = ("average", 3, 1, "same")


def _three(filters: int, stride: int = 1, padding: str = "same") -> Step:
    return (filters, 3, 3, stride, padding)


def _fork(filters: int) -> Step:
    """1x3 and 3x1 side by side."""
    return ("fork", filters)


def run(b: Builder, x: int, steps: Sequence[Step]) -> int:
    """Layers one after the other."""
    for step in steps:
        if isinstance(step, int):
            x = b.conv(x, step, act="relu")
        elif step[0] == "fork":
            sides = [b.conv(x, step[1], size, act="relu") for size in ((1, 3), (3, 1))]
            x = b.concat(sides)
        elif isinstance(step[0], str):
            kind, size, stride, padding = step
            x = b.pool(x, kind, size, stride, padding)
        else:
            filters, rows, columns, *rest = step
            stride, padding = rest or (1, "same")
            x = b.conv(x, filters, (rows, columns), stride, "relu", padding)
    return x


def block(b: Builder, x: int, *branches: Sequence[Step]) -> int:
    """Branches side by side, concatenated."""
    return b.concat([run(b, x, steps) for steps in branches])


def _v1(b: Builder) -> Sequence[int]:
    pool = ("max", 3, 2, "same")
    x = run(b, b.input, [(64, 7, 7, 2, "same"), pool, 64, _three(192), pool])

    def inception(x: int, one: int, r3: int, c3: int, r5: int, c5: int, last: int) -> int:
        tail = [("max", 3, 1, "same"), last]
        return block(b, x, [one], [r3, _three(c3)], [r5, _three(c5)], tail)

    x = inception(x, 64, 96, 128, 16, 32, 32)
    x = inception(x, 128, 128, 192, 32, 96, 64)
    x = run(b, x, [pool])
    x = inception(x, 192, 96, 208, 16, 48, 64)
    x = inception(x, 160, 112, 224, 24, 64, 64)
    x = inception(x, 128, 128, 256, 24, 64, 64)
    x = inception(x, 112, 144, 288, 32, 64, 64)
    x = inception(x, 256, 160, 320, 32, 128, 128)
    x = run(b, x, [("max", 2, 2, "same")])
    x = inception(x, 256, 160, 320, 32, 128, 128)
    x = inception(x, 384, 192, 384, 48, 128, 128)
    return classify(b, x)


def v2_maps(b: Builder, x: int) -> list[int]:
    """The maps of V2 that detectors use, at strides 16 and 32."""
    pool = ("max", 3, 2, "same")
    # The first layer is separable, with 8 filters per colour.
    x = b.depthwise(x, 7, 2, multiplier=8)
    x = b.conv(x, 64, act="relu")
    x = run(b, x, [pool, 64, _three(192), pool])

    def inception(x: int, one: int, r3: int, c3: int, r5: int, c5: int, tail: Step) -> int:
        kind = ("max", 3, 1, "same") if isinstance(tail, tuple) else _AVERAGE
        last = tail[0] if isinstance(tail, tuple) else tail
        twice = [r5, _three(c5), _three(c5)]
        return block(b, x, [one], [r3, _three(c3)], twice, [kind, last])

    x = inception(x, 64, 64, 64, 64, 96, 32)
    x = inception(x, 64, 64, 96, 64, 96, 64)
    x = block(b, x, [128, _three(160, 2)], [64, _three(96), _three(96, 2)], [pool])
    x = inception(x, 224, 64, 96, 96, 128, 128)
    x = inception(x, 192, 96, 128, 96, 128, 128)
    middle = x
    x = inception(x, 160, 128, 160, 128, 160, 96)
    x = inception(x, 96, 128, 192, 160, 192, 96)
    x = block(b, x, [128, _three(192, 2)], [192, _three(256), _three(256, 2)], [pool])
    x = inception(x, 352, 192, 320, 160, 224, 128)
    return [middle, inception(x, 352, 192, 320, 192, 224, (128,))]


def _v2(b: Builder) -> Sequence[int]:
    return classify(b, v2_maps(b, b.input)[-1])


def _stem(b: Builder) -> int:
    steps = [_three(32, 2, "valid"), _three(32, 1, "valid"), _three(64)]
    return run(b, b.input, steps)


def _v3(b: Builder) -> Sequence[int]:
    x = run(b, _stem(b), [_HALVE, 80, _three(192, 1, "valid"), _HALVE])
    for last in (32, 64, 64):
        double = [64, _three(96), _three(96)]
        x = block(b, x, [64], [48, (64, 5, 5)], double, [_AVERAGE, last])
    double = [64, _three(96), _three(96, 2, "valid")]
    x = block(b, x, [_three(384, 2, "valid")], double, [_HALVE])
    for inner in (128, 160, 160, 192):
        once = [inner, (inner, 1, 7), (192, 7, 1)]
        twice = [inner, (inner, 7, 1), (inner, 1, 7), (inner, 7, 1), (192, 1, 7)]
        x = block(b, x, [192], once, twice, [_AVERAGE, 192])
    once = [192, _three(320, 2, "valid")]
    twice = [192, (192, 1, 7), (192, 7, 1), _three(192, 2, "valid")]
    x = block(b, x, once, twice, [_HALVE])
    for _ in range(2):
        forked = [448, _three(384), _fork(384)]
        x = block(b, x, [320], [384, _fork(384)], forked, [_AVERAGE, 192])
    return classify(b, x)


def _v4(b: Builder) -> Sequence[int]:
    x = block(b, _stem(b), [_HALVE], [_three(96, 2, "valid")])
    long = [64, (64, 1, 7), (64, 7, 1), _three(96, 1, "valid")]
    x = block(b, x, [64, _three(96, 1, "valid")], long)
    x = block(b, x, [_three(192, 2, "valid")], [_HALVE])
    for _ in range(4):
        double = [64, _three(96), _three(96)]
        x = block(b, x, [96], [64, _three(96)], double, [_AVERAGE, 96])
    double = [192, _three(224), _three(256, 2, "valid")]
    x = block(b, x, [_three(384, 2, "valid")], double, [_HALVE])
    for _ in range(7):
        once = [192, (224, 1, 7), (256, 7, 1)]
        twice = [192, (192, 7, 1), (224, 1, 7), (224, 7, 1), (256, 1, 7)]
        x = block(b, x, [384], once, twice, [_AVERAGE, 128])
    once = [192, _three(192, 2, "valid")]
    twice = [256, (256, 1, 7), (320, 7, 1), _three(320, 2, "valid")]
    x = block(b, x, once, twice, [_HALVE])
    for _ in range(3):
        forked = [384, (448, 3, 1), (512, 1, 3), _fork(256)]
        x = block(b, x, [256], [384, _fork(256)], forked, [_AVERAGE, 256])
    return _dense_end(b, x)


def _dense_end(b: Builder, x: int) -> Sequence[int]:
    x = b.global_pool(x)
    x = b.reshape(x, (1, b.channels(x)))
    return [b.softmax(b.dense(x, 1001))]


def _resnet_v2(b: Builder) -> Sequence[int]:
    x = run(b, _stem(b), [_HALVE, 80, _three(192, 1, "valid"), _HALVE])
    double = [64, _three(96), _three(96)]
    x = block(b, x, [96], [48, (64, 5, 5)], double, [_AVERAGE, 64])

    def residual(x: int, act: str, *branches: Sequence[Step]) -> int:
        # The converter folds the scale of the residual into this convolution.
        y = b.conv(block(b, x, *branches), b.channels(x))
        return b.add(x, y, act)

    for _ in range(10):
        x = residual(x, "relu", [32], [32, _three(32)], [32, _three(48), _three(64)])
    double = [256, _three(256), _three(384, 2, "valid")]
    x = block(b, x, [_three(384, 2, "valid")], double, [_HALVE])
    for _ in range(20):
        x = residual(x, "relu", [192], [128, (160, 1, 7), (192, 7, 1)])
    first, second = [256, _three(384, 2, "valid")], [256, _three(288, 2, "valid")]
    x = block(b, x, first, second, [256, _three(288), _three(320, 2, "valid")], [_HALVE])
    for number in range(10):
        act = "relu" if number < 9 else "none"
        x = residual(x, act, [192], [192, (224, 1, 3), (256, 3, 1)])
    return _dense_end(b, run(b, x, [1536]))


_BODIES: dict[str, tuple[Callable[[Builder], Sequence[int]], int]] = {
    "inception_v1": (_v1, 224),
    "inception_v2": (_v2, 224),
    "inception_v3": (_v3, 299),
    "inception_v4": (_v4, 299),
    "inception_resnet_v2": (_resnet_v2, 299),
}

_ALIASES = {
    "googlenet": "inception_v1",
    "bninception": "inception_v2",
    "inception": "inception_v3",
    "inceptionresnet": "inception_resnet_v2",
    "irv2": "inception_resnet_v2",
}


def find(name: Name) -> Architecture | None:
    """The Inception networks at any resolution that they can take."""
    plain = {key.replace("_", ""): key for key in _BODIES}
    key = plain.get(name.words) or _ALIASES.get(name.words)
    if key is None:
        return None
    body, side = _BODIES[key]
    return at_side(key, key, body, name.numbers, side)


NAMES = tuple(_BODIES)
