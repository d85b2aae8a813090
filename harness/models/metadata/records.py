"""What a file says of its tensors, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.domain import Preprocessing


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """One input or output, in the words of the metadata schema.

    ``content`` is ``image``, ``feature``, ``boxes`` or empty; ``colour`` ``rgb``, ``gray`` or
    empty. An app feeds ``(sample - mean) / std``, both empty where nothing is said, and
    quantizes the result where the tensor is quantized. ``labels_kind`` says what ``labels``
    name: the places along an axis (``axis``) or the values themselves (``value``).
    """

    name: str = ""
    description: str = ""
    content: str = ""
    colour: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    labels_file: str = ""
    labels_kind: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a ModelMetadata buffer; ``labels_file`` is the whole graph's own."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    parser: str = ""
    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()
    labels_file: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Everything that travels with a ``.tflite`` file.

    ``preprocessing`` is the first input's, ``None`` where nothing usable is said of it;
    ``files`` are the names packed behind the model. ``problems`` tells what could not be
    read, or contradicts itself; the rest is right all the same.
    """

    description: Description = field(default_factory=Description)
    preprocessing: Preprocessing | None = None
    preprocessings: tuple[Preprocessing | None, ...] = ()
    labels: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
