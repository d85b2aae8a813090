"""TensorFlow Lite metadata: what an app must know of a file, inside the file.

Two entries are embedded: ``TFLITE_METADATA``, which the mobile libraries read (see
``metadata.schema``), and ``edge_harness.preprocessing``, JSON for what that schema has no
words for: the scale, ``bgr``, the layout, the rule of resizing. Labels are packed behind the
model as ``labels.txt``. The model's own bytes stay as they are (see ``metadata.container``).

The schema normalizes raw samples, ``(sample - mean) / std``, also for quantized models: an
app then quantizes the result with the tensor's own scale and zero point. So
``(sample * scale - mean) / std`` becomes ``(sample - mean / scale) / (std / scale)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.domain import Preprocessing
from harness.errors import ModelError
from harness.models.metadata import container, schema
from harness.models.metadata.records import Description, Metadata, TensorMetadata
from harness.models.metadata.tensors import Tensor, model_tensors

STANDARD = "TFLITE_METADATA"
OURS = "edge_harness.preprocessing"
_VERSION = 1


def worth_writing(preprocessing: Preprocessing, labels: Sequence[str]) -> bool:
    """Whether there is anything to say; if not, a file stays as the converter made it."""
    return bool(labels) or not preprocessing.identity


def write(
    content: bytes,
    *,
    name: str,
    description: str,
    preprocessing: Preprocessing | Sequence[Preprocessing],
    labels: Sequence[str] = (),
) -> bytes:
    """The same model with its metadata, replacing what it said before; always the same bytes.

    One preprocessing alone is the first input's, a sequence has one for each input.
    Author, licence and version of earlier metadata are kept. Raises ``ModelError`` for a model
    that is damaged or has no room for metadata (see ``container.embed``), and for labels with
    line breaks.
    """
    model = original(content)
    inputs, outputs = model_tensors(model)
    given = [preprocessing] if isinstance(preprocessing, Preprocessing) else list(preprocessing)
    if len(given) > len(inputs):
        raise ModelError(f"{len(given)} preprocessings for {len(inputs)} inputs")
    given += [Preprocessing()] * (len(inputs) - len(given))
    packed_labels = _encode_labels(labels)
    before = _described(container.entry(content, STANDARD) or b"")
    described = Description(
        name=name,
        description=description,
        version=before.version,
        author=before.author,
        license=before.license,
        inputs=tuple(_input(tensor, wanted) for tensor, wanted in zip(inputs, given, strict=True)),
        outputs=_outputs(outputs, len(labels)),
    )
    if labels and not any(output.labels_file for output in described.outputs):
        described = replace(described, labels_file=schema.LABELS_NAME)
    own = {
        "version": _VERSION,
        "inputs": [wanted.as_json() for wanted in given],
        "model": {"bytes": len(model), "sha256": container.fingerprint(model)},
    }
    added = {
        STANDARD: schema.encode(described),
        OURS: json.dumps(own, sort_keys=True, separators=(",", ":")).encode(),
    }
    return container.embed(model, added, {schema.LABELS_NAME: packed_labels} if labels else {})


def read(content: bytes) -> Metadata | None:
    """What a ``.tflite`` file says of itself, whoever wrote it; ``None`` where it says nothing.

    Raises ``ModelError`` where the model is damaged; damage that concerns the metadata alone
    is told in ``problems``.
    """
    standard, ours = container.entry(content, STANDARD), container.entry(content, OURS)
    if standard is None and ours is None:
        return None
    problems: list[str] = []
    described = Description()
    if standard is not None:
        try:
            described = schema.decode(standard)
        except ModelError as error:
            problems.append(f"{STANDARD}: {error.message}")
    own = _own(ours, problems) if ours is not None else ()
    count = max(len(described.inputs), len(own))
    stated = [*described.inputs, *[TensorMetadata()] * (count - len(described.inputs))]
    said = [*own, *[None] * (count - len(own))]
    preprocessings = tuple(
        _preprocessing(tensor, exact, problems) for tensor, exact in zip(stated, said, strict=True)
    )
    packed = container.packed(content)
    return Metadata(
        description=described,
        preprocessing=preprocessings[0] if preprocessings else None,
        preprocessings=preprocessings,
        labels=_decode_labels(described, packed, problems),
        files=packed.names,
        problems=tuple(problems),
    )


def original(content: bytes) -> bytes:
    """The model as it was before ``write``, and without files behind it.

    Entries that another program wrote, or wrote anew since, stay.
    """
    model = content[: container.packed(content).start]
    try:
        said = json.loads(container.entry(content, OURS) or b"null")["model"]
        size, sha256 = int(said["bytes"]), said["sha256"]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return model
    inner = model[-size:] if 0 < size < len(model) else b""
    return inner if container.fingerprint(inner) == sha256 else model


def _described(content: bytes) -> Description:
    try:
        return schema.decode(content)
    except ModelError:
        return Description()


def _input(tensor: Tensor, wanted: Preprocessing) -> TensorMetadata:
    content, colour = _content(tensor, wanted)
    mean, std = _normalization(wanted) if tensor.real else ((), ())
    if len(mean) not in (0, 1, tensor.channels(wanted.layout)):
        mean, std = (), ()
    minimum, maximum = tensor.stored_range()
    words = [wanted.layout, wanted.colour, wanted.resize and f"{wanted.resize} resize"]
    return TensorMetadata(
        name=tensor.name,
        description=", ".join(filter(None, words)),
        content=content,
        colour=colour,
        mean=mean,
        std=std,
        minimum=minimum,
        maximum=maximum,
    )


def _content(tensor: Tensor, wanted: Preprocessing) -> tuple[str, str]:
    """Images are what the schema means by it: rows, columns, then red, green, blue or gray.

    Another order of colours is an image of unknown colours, which the libraries refuse
    rather than feed wrongly. One channel may as well be a spectrogram, so it is an image only
    where the preprocessing says ``gray``.
    """
    channels = tensor.shape[3] if len(tensor.shape) == 4 else 0
    if wanted.layout == "nchw" or channels not in (1, 3):
        return "feature", ""
    if channels == 1:
        return ("image", "gray") if wanted.colour == "gray" else ("feature", "")
    return "image", wanted.colour if wanted.colour == "rgb" else "" if wanted.colour else "rgb"


def _normalization(wanted: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the raw sample, of one length; empty where float32 cannot hold them.

    Equal channels become one, since some libraries know but one mean and std.
    """
    size = max(len(wanted.mean), len(wanted.std))
    with np.errstate(all="ignore"):
        pair = np.stack(
            [
                np.broadcast_to((np.array(values) / np.float64(wanted.scale)).astype("f4"), size)
                for values in (wanted.mean, wanted.std)
            ]
        )
    if not np.isfinite(pair).all() or not pair[1].all():
        return (), ()
    if (pair == pair[:, :1]).all():
        pair = pair[:, :1]
    return tuple(pair[0].tolist()), tuple(pair[1].tolist())


def _outputs(tensors: Sequence[Tensor], labels: int) -> tuple[TensorMetadata, ...]:
    """Labels name the last axis of outputs of that length, or the values of an index output."""
    made = []
    for tensor in tensors:
        kind = ""
        if labels and tensor.shape[-1:] == (labels,):
            kind = "axis"
        elif labels and not tensor.real:
            kind = "value"
        minimum, maximum = tensor.stored_range()
        made.append(
            TensorMetadata(
                name=tensor.name,
                content="feature",
                minimum=minimum,
                maximum=maximum,
                labels_file=schema.LABELS_NAME if kind else "",
                labels_kind=kind,
            )
        )
    return tuple(made)


def _encode_labels(labels: Sequence[str]) -> bytes:
    for index, label in enumerate(labels):
        if "\n" in label or "\r" in label:
            raise ModelError(
                f"label {index} holds a line break, which a file of labels cannot: {label!r:.80}"
            )
    try:
        content = "".join(f"{label}\n" for label in labels).encode()
    except UnicodeEncodeError as error:
        raise ModelError(f"a label is no text: {error.object[error.start]!r}") from None
    if len(content) > container.MAX_FILE:
        raise ModelError(f"the labels have {len(content):,} bytes; at most 8 MB can be packed")
    return content


def _decode_labels(
    described: Description, packed: container.Packed, problems: list[str]
) -> tuple[str, ...]:
    name = next(
        (
            tensor.labels_file
            for kind in ("axis", "value")
            for tensor in described.outputs
            if tensor.labels_file and tensor.labels_kind == kind
        ),
        described.labels_file,
    )
    if not name:
        return ()
    content = packed.read(name)
    if content is None:
        problems.append(f"labels: {name[:200]!r} is not packed behind the model, or is damaged")
        return ()
    lines = content.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        lines.pop()
    return tuple(line.removesuffix("\r") for line in lines)


def _own(content: bytes, problems: list[str]) -> tuple[Preprocessing, ...]:
    try:
        value: Mapping[str, Any] = json.loads(content)
        version = int(value["version"])
        if version > _VERSION:
            problems.append(f"{OURS}: version {version} is newer than this program knows")
            return ()
        inputs = value["inputs"]
        return tuple(Preprocessing.from_json(one) for one in inputs)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        problems.append(f"{OURS}: damaged")
        return ()


def _preprocessing(
    tensor: TensorMetadata, exact: Preprocessing | None, problems: list[str]
) -> Preprocessing | None:
    """The exact one, unless the standard entry was changed since: apps go by that."""
    if not tensor.mean or not tensor.std:
        return exact
    layout = "nhwc" if tensor.content == "image" else ""
    if exact and (tensor.mean, tensor.std) == _normalization(exact):
        return exact
    try:
        stated = Preprocessing(1.0, tensor.mean, tensor.std, tensor.colour, layout)
    except ValueError as error:
        problems.append(f"{STANDARD}: normalization of {tensor.name[:200]!r}: {error}")
        return exact
    if exact:
        problems.append(f"{STANDARD} was changed after {OURS} was written, and is believed")
        return replace(
            stated,
            colour=exact.colour or stated.colour,
            layout=exact.layout or stated.layout,
            resize=exact.resize,
        )
    return stated


__all__ = [
    "OURS",
    "STANDARD",
    "Description",
    "Metadata",
    "TensorMetadata",
    "original",
    "read",
    "worth_writing",
    "write",
]
