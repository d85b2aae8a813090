"""A ready ``.tflite`` file, deployed as it is."""

from __future__ import annotations

from pathlib import Path

from harness.domain import Model, Preprocessing
from harness.errors import ModelError
from harness.models import metadata
from harness.models.reader import Reader, first_bytes
from harness.simulation.graph import read_graph

_IDENTIFIER = b"TFL3"


def _claims(_source: str, path: Path) -> bool:
    return path.suffix.lower() == ".tflite" or first_bytes(path, 8)[4:8] == _IDENTIFIER


def _check(_model: Model, path: Path) -> None:
    if first_bytes(path, 8)[4:8] != _IDENTIFIER:
        raise ModelError(
            "not a TensorFlow Lite file: the identifier TFL3 is missing",
            hint="is it a .tflite file, and was it copied in binary?",
        )
    read_graph(path)


def preprocessing_of(path: Path) -> tuple[Preprocessing, tuple[str, ...]] | None:
    """Preprocessing and labels that a file brings along; ``None`` where it says nothing of them.

    Of several inputs it is the first's. Raises ``ModelError`` for a damaged model.
    """
    try:
        said = metadata.read(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from None
    if said is None or (said.preprocessing is None and not said.labels):
        return None
    return said.preprocessing or Preprocessing(), said.labels


READER = Reader("TensorFlow Lite .tflite", _claims, _check, None)
