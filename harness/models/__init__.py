"""Reading a trained model in whatever form the user has it.

A new source format is one file with a ``Reader`` and one line in ``READERS``; the first
reader that claims a source reads it. Only ``Reader.load`` may import TensorFlow, and
it runs in a conversion process, never in the orchestrator.
"""

from harness.domain import Model
from harness.models import (
    architecture,
    factory,
    keras_h5,
    keras_v3,
    reader,
    saved_model,
    tflite_file,
)
from harness.models.reader import Reader, ResolvedModel, Source

READERS: dict[str, Reader] = {
    "architecture": architecture.READER,
    "saved_model": saved_model.READER,
    "keras_v3": keras_v3.READER,
    "keras_h5": keras_h5.READER,
    "tflite": tflite_file.READER,
    "factory": factory.READER,
}


def resolve_model(model: Model) -> ResolvedModel:
    """Find the reader of a model's source, check it and hash it.

    Raises ``ModelError`` naming the source and what is wrong with it.
    """
    return reader.resolve(model, READERS)


def is_reference(source: str) -> bool:
    """Whether a source is no path: an architecture's name or a Python function."""
    return source.startswith(architecture.PREFIX) or factory.is_factory(source)


__all__ = ["READERS", "Reader", "ResolvedModel", "Source", "is_reference", "resolve_model"]
