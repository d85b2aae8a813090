"""A ``.tflite`` file under everything that the host reads of one without a runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fuzz.places import shared, written
from fuzz.target import Target
from harness.domain import Model
from harness.models.inspection import inspect_file
from harness.models.tflite_file import READER
from harness.reports import inspection_table


def _run(data: bytes) -> None:
    path = written("model.tflite", data)
    found = inspect_file(path)
    json.dumps(found.as_dict(), allow_nan=False)
    inspection_table.render(found, 120, tensors=True)
    READER.check(Model("model", str(path), ""), path)


def _seeds() -> Sequence[bytes]:
    from tests.support.models import adding_model

    made = [adding_model(), adding_model((1, 2), inputs=2, outputs=3, signature=True)]
    return [*made, *shared("models/*/*.tflite", most=60_000)]


TARGET = Target(_run, _seeds, tokens=(b"TFL3", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f"))
