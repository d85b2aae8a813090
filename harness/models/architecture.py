"""Published architectures by name: ``keras:MobileNetV2?weights=none&alpha=0.5&input=224``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from harness.cache import json_sha256
from harness.domain import Model
from harness.errors import ModelError, suggest
from harness.models.keras_source import from_keras
from harness.models.reader import Reader, Source

PREFIX = "keras:"

#: Name in ``keras.applications`` -> the input's height and width it was published with.
ARCHITECTURES: dict[str, int] = {
    "MobileNet": 224,
    "MobileNetV2": 224,
    "MobileNetV3Small": 224,
    "MobileNetV3Large": 224,
    "ResNet50": 224,
    "ResNet101": 224,
    "ResNet152": 224,
    "ResNet50V2": 224,
    "ResNet101V2": 224,
    "ResNet152V2": 224,
    "NASNetMobile": 224,
    "NASNetLarge": 331,
    "InceptionV3": 299,
    "InceptionResNetV2": 299,
    "DenseNet121": 224,
    "VGG16": 224,
    "VGG19": 224,
    "Xception": 299,
    "EfficientNetB0": 224,
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B0": 224,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
}

#: Other names that people use.
_ALIASES = {"MobileNetV3": "MobileNetV3Large", "EfficientNet": "EfficientNetB0"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """A published network: ``weights`` are ``none`` (drawn from ``seed``) or ``imagenet``."""

    name: str
    weights: str
    height: int
    width: int
    classes: int
    alpha: float | None
    seed: int


def parse_architecture(source: str) -> Architecture:
    """The architecture of ``keras:NAME?weights=none&input=224&alpha=0.5&classes=10&seed=0``.

    ``input`` is a side or ``HEIGHTxWIDTH``. Raises ``ModelError`` naming what is wrong.
    """
    name, _, query = source.removeprefix(PREFIX).partition("?")
    name = _ALIASES.get(name, name)
    if name not in ARCHITECTURES:
        hint = suggest(name, ARCHITECTURES)
        raise ModelError(f"unknown architecture {name!r}", hint=hint)
    known = ("weights", "input", "classes", "alpha", "seed")
    settings = {"weights": "imagenet", "input": str(ARCHITECTURES[name]), "classes": "1000"}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            hint = suggest(key, known)
            raise ModelError(f"unknown setting {key!r} of an architecture", hint=hint)
        settings[key] = value
    if settings["weights"] not in ("none", "imagenet"):
        raise ModelError(f"weights is none or imagenet, not {settings['weights']!r}")
    if "alpha" in settings and not name.startswith("MobileNet"):
        raise ModelError(f"{name} has no alpha; only the MobileNets are made in several widths")
    sides = settings["input"].lower().split("x")
    try:
        height, width = int(sides[0]), int(sides[-1])
        found = Architecture(
            name,
            settings["weights"],
            height,
            width,
            int(settings["classes"]),
            float(settings["alpha"]) if "alpha" in settings else None,
            int(settings.get("seed", "0")),
        )
    except ValueError as error:
        raise ModelError(f"a setting of {source} is no number: {error}") from None
    if len(sides) > 2 or not 32 <= height <= 4096 or not 32 <= width <= 4096:
        raise ModelError(
            f"input is a side or HEIGHTxWIDTH of 32 to 4096, not {settings['input']!r}"
        )
    if found.alpha is not None and not 0.01 <= found.alpha <= 10:
        raise ModelError(f"alpha is 0.01 to 10, not {found.alpha:g}")
    if not 0 <= found.seed < 2**32:
        raise ModelError(f"seed is 0 to {2**32 - 1}, not {found.seed}")
    if not 1 <= found.classes <= 100_000:
        raise ModelError(f"classes is 1 to 100000, not {found.classes}")
    return found


def _identity(model: Model, _path: Path) -> str:
    found = parse_architecture(model.source)
    return json_sha256(
        ["architecture", 1, metadata.version("tf-keras"), *(getattr(found, name) for name in (
            "name", "weights", "height", "width", "classes", "alpha", "seed",
        ))]
    )  # fmt: skip


def _load(source: str, _path: Path) -> Source:
    import tf_keras

    found = parse_architecture(source)
    tf_keras.utils.set_random_seed(found.seed)
    settings: dict[str, Any] = {
        "weights": None if found.weights == "none" else "imagenet",
        "input_shape": (found.height, found.width, 3),
        "classes": found.classes,
    }
    if found.alpha is not None:
        settings["alpha"] = found.alpha
    try:
        return from_keras(getattr(tf_keras.applications, found.name)(**settings))
    except ValueError as error:
        raise ModelError(f"Keras refuses these settings: {error}") from None
    except OSError as error:  # the download
        raise ModelError(
            f"the ImageNet weights of {found.name} could not be fetched: {error}",
            hint="weights=none gives the architecture with random weights, which is enough for "
            "latency and size",
        ) from None
    except Exception as error:  # Keras wraps what a download raises in a bare Exception
        if "fetch" not in str(error):
            raise
        raise ModelError(
            f"the ImageNet weights of {found.name} could not be fetched: {error}",
            hint="weights=none gives the architecture with random weights, which is enough for "
            "latency and size",
        ) from None


def _check(model: Model, _path: Path) -> None:
    parse_architecture(model.source)


READER = Reader(
    "keras:ARCHITECTURE",
    lambda source, path: source.startswith(PREFIX),
    _check,
    _load,
    identity=_identity,
    is_file=False,
)
