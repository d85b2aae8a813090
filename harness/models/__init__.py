"""Reading a trained model in whatever form the user has it.

A new source format is one file with a ``Reader`` and one line in ``READERS``; the first
reader that claims a path reads it. Only ``Reader.converter`` may import TensorFlow, and
it runs in a conversion process, never in the orchestrator.
"""

from harness.domain import Model
from harness.models import keras_h5, keras_v3, reader, saved_model, tflite_file
from harness.models.reader import Reader, ResolvedModel

READERS: dict[str, Reader] = {
    "saved_model": saved_model.READER,
    "keras_v3": keras_v3.READER,
    "keras_h5": keras_h5.READER,
    "tflite": tflite_file.READER,
}


def resolve_model(model: Model) -> ResolvedModel:
    """Find the reader of a model's file, check the file and hash it.

    Raises ``ModelError`` naming the file and what is wrong with it.
    """
    return reader.resolve(model, READERS)


__all__ = ["READERS", "Reader", "ResolvedModel", "resolve_model"]
