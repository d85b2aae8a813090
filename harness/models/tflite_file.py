"""A ready ``.tflite`` file, deployed as it is."""

from __future__ import annotations

from pathlib import Path

from harness.domain import Model
from harness.errors import ModelError
from harness.models.reader import Reader, first_bytes
from harness.simulation.graph import read_graph

_IDENTIFIER = b"TFL3"


def _claims(_source: str, path: Path) -> bool:
    return path.suffix == ".tflite" or first_bytes(path, 8)[4:8] == _IDENTIFIER


def _check(_model: Model, path: Path) -> None:
    if first_bytes(path, 8)[4:8] != _IDENTIFIER:
        raise ModelError(
            "not a TensorFlow Lite file: the identifier TFL3 is missing",
            hint="is it a .tflite file, and was it copied in binary?",
        )
    read_graph(path)


READER = Reader("TensorFlow Lite .tflite", _claims, _check, None)
