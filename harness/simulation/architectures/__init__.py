"""Published architectures by their names, as graphs without weights.

For predicting latencies, which do not depend on the weights, where a model's file is not at
hand. Pure Python; a graph takes milliseconds.
"""

from __future__ import annotations

from typing import Protocol

from harness.simulation.architectures import (
    classic,
    deeplab,
    densenet,
    edgetpu_v2,
    efficientdet,
    efficientnet,
    efficientnet_b,
    fpn,
    inception,
    mnasnet,
    mobiledet,
    mobilenet,
    mobilenet_v3,
    nasnet,
    posenet,
    resnet,
    ssd,
)
from harness.simulation.architectures.architecture import Architecture
from harness.simulation.architectures.naming import Name, take_apart


class Family(Protocol):
    """What a module of a family offers."""

    @property
    def NAMES(self) -> tuple[str, ...]:  # noqa: N802 - a module's constant
        """Canonical names of what it knows."""

    def find(self, name: Name) -> Architecture | None:
        """The member of the family of this name, if any."""


__all__ = ["Architecture", "find", "names"]

_FAMILIES: tuple[Family, ...] = (
    mobilenet,
    mobilenet_v3,
    inception,
    resnet,
    classic,
    efficientnet,
    efficientnet_b,
    efficientdet,
    mnasnet,
    nasnet,
    densenet,
    edgetpu_v2,
    ssd,
    mobiledet,
    fpn,
    deeplab,
    posenet,
)


def find(name: str) -> Architecture | None:
    """The architecture of a published name, in any usual spelling; ``None`` if unknown.

    Widths and resolutions that are not named are the published defaults; what says how a
    file was made (``_quant``, ``_int8``, ``_coco``, ``.tflite``, ...) does not count.
    """
    if len(name) > 200:
        return None
    whole = take_apart(name)
    # Last, since it is also part of names: what a file for the Edge TPU ends in.
    for form in dict.fromkeys((whole, whole.without("edgetpu"))):
        for family in _FAMILIES:
            if (found := family.find(form)) is not None:
                return found
    return None


def names() -> tuple[str, ...]:
    """Canonical names of what is known, at the published widths and resolutions."""
    return tuple(name for family in _FAMILIES for name in family.NAMES)
