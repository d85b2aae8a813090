"""Models with metadata: written, read back, run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from harness.domain import Preprocessing
from harness.models import metadata
from tests.support.models import adding_model

MODEL = adding_model()
IMAGENET = Preprocessing(
    1 / 255,
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
    colour="rgb",
    layout="nhwc",
    resize="bilinear",
)


def write(content: bytes = MODEL, **changed: Any) -> bytes:
    given = {"name": "mine", "description": "A test.", "preprocessing": IMAGENET, **changed}
    return metadata.write(content, **given)


def said(content: bytes) -> metadata.Metadata:
    found = metadata.read(content)
    assert found is not None
    return found


def entries(content: bytes) -> dict[str, bytes]:
    """Named entries, by the runtime's own schema."""
    model = tfl.Model.GetRootAs(content, 0)
    found = {}
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        buffer = model.Buffers(entry.Buffer())
        name = entry.Name().decode()
        assert name not in found, "an entry is there twice"
        found[name] = bytes(buffer.DataAsNumpy()) if buffer.DataLength() else b""
    return found


def run(content: bytes) -> tuple[list[NDArray[Any]], Mapping[str, Any]]:
    """Outputs of a seeded input, and the signatures."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        value = rng.integers(0, 100, size=detail["shape"])
        interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]
    return outputs, interpreter.get_signature_list()


def same(left: bytes, right: bytes) -> bool:
    (outputs, signatures), (others, others_signatures) = run(left), run(right)
    return signatures == others_signatures and all(map(np.array_equal, outputs, others))
