"""TensorFlow SavedModel folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.domain import Model
from harness.errors import ModelError
from harness.models.keras_source import described, function_weights
from harness.models.one_graph import SIGNATURE as _SERVED
from harness.models.one_graph import natural
from harness.models.reader import Reader, Source


def _claims(_source: str, path: Path) -> bool:
    return os.path.isdir(path)


def _check(_model: Model, path: Path) -> None:
    graph = path / "saved_model.pb"
    if not graph.is_file():
        raise ModelError("the folder has no saved_model.pb, so it is not a SavedModel")
    if graph.stat().st_size == 0:
        raise ModelError("saved_model.pb is empty")


def _load(_source: str, path: Path) -> Source:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    if not signatures:
        raise ModelError(
            "the SavedModel has no signatures, so its inputs are unknown",
            hint="save it with model.export(folder) or with signatures=...",
        )
    if _SERVED not in signatures and len(signatures) > 1:
        raise ModelError(
            f"the SavedModel has the signatures {', '.join(sorted(signatures))}, and none is "
            f"{_SERVED}",
            hint=f"save it again with the one to deploy as {_SERVED}",
        )
    (name,) = [_SERVED] if _SERVED in signatures else list(signatures)
    function = signatures[name]
    # A signature is a dictionary: its ends have names and no order of their own.
    specs = dict(sorted(function.structured_input_signature[1].items(), key=_natural))

    def weights() -> Iterator[tuple[str, Any]]:
        assert loaded is not None  # its variables live as long as it does
        yield from function_weights(function)

    shapes = [spec.shape for spec in specs.values() if spec.shape.rank]
    return Source(
        converter=lambda _folder: tf.lite.TFLiteConverter.from_saved_model(
            str(path), signature_keys=[name]
        ),
        inputs=tuple(described(spec) for spec in specs.values()),
        batch=(shapes[0][0] or 1) if shapes else 1,
        layers=None,
        no_layers="a SavedModel has no graph of layers; bring the Keras file for this recipe",
        weights=weights,
        signature=(
            tuple(specs),
            tuple(sorted(map(str, function.structured_outputs), key=natural)),
        ),
    )


def _natural(item: tuple[str, Any]) -> Any:
    return natural(item[0])


READER = Reader("SavedModel folders", _claims, _check, _load)
