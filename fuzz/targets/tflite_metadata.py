"""Metadata in a ``.tflite`` file and files packed behind it: read, and written anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from fuzz.places import shared
from fuzz.target import Target
from harness.domain import Preprocessing
from harness.models import metadata

_PREPROCESSING = Preprocessing(1 / 255, (0.5,), (0.25,), colour="rgb", layout="nhwc")


def _run(data: bytes) -> None:
    found = metadata.read(data)
    json.dumps(asdict(found) if found else None)
    metadata.original(data)
    again = metadata.write(
        data, name="n", description="d", preprocessing=_PREPROCESSING, labels=("a", "b")
    )
    read = metadata.read(again)
    assert read is not None and read.labels[:2] in (("a", "b"), ()), read


def _seeds() -> Sequence[bytes]:
    from tests.support.models import adding_model

    plain = [adding_model(), adding_model((1, 2), inputs=2, signature=True)]
    plain += shared("models/*/*.tflite", most=20_000)
    return [
        *plain,
        *(
            metadata.write(
                model,
                name="mine",
                description="A test.",
                preprocessing=_PREPROCESSING,
                labels=("cat", "dog"),
            )
            for model in plain
        ),
    ]


TARGET = Target(
    _run,
    _seeds,
    tokens=(
        b"TFL3",
        b"M001",
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"TFLITE_METADATA",
        b'{"version":1,"inputs":[]}',
        b"1e999",
        b"NaN",
    ),
)
