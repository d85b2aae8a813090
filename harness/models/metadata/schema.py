"""The ModelMetadata flatbuffer: encoding and decoding.

Slots and values follow ``metadata_schema.fbs`` 1.1.0 of TensorFlow Lite Support
(github.com/tensorflow/tflite-support, file identifier ``M001``). Nothing newer than 1.0.0 of
it is written, which ``min_parser_version`` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.models.metadata.flatbuffer import Table, root
from harness.models.metadata.records import Description, TensorMetadata

IDENTIFIER = b"M001"

#: The file behind the model that holds the class names.
LABELS_NAME = "labels.txt"

#: Lists longer than these are damage, not a description.
_MAX_TENSORS = 1024
_MAX_UNITS = 64
_MAX_NUMBERS = 4096

#: Longer names and descriptions are cut.
_MAX_CHARACTERS = 4096

_PARSER = "1.0.0"
_FEATURE, _IMAGE, _BOXES = 1, 2, 3
_CONTENTS = {_FEATURE: "feature", _IMAGE: "image", _BOXES: "boxes"}
_COLOURS = {1: "rgb", 2: "gray"}
_LABELS = {2: "axis", 3: "value"}
_DESCRIPTIONS = 1
_NORMALIZATION = 1


def encode(described: Description) -> bytes:
    """The buffer of a description; the same for the same description, always."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    inputs = _tables(builder, [_encode_tensor(builder, tensor) for tensor in described.inputs])
    outputs = _tables(builder, [_encode_tensor(builder, tensor) for tensor in described.outputs])
    files = _encode_file(builder, described.labels_file, _DESCRIPTIONS)
    subgraph = _table(builder, 7, {2: inputs, 3: outputs, 4: files})
    fields = {3: _tables(builder, [subgraph])}
    texts = {
        0: described.name,
        1: described.description,
        2: described.version,
        4: described.author,
        5: described.license,
        7: _PARSER,
    }
    fields.update({slot: _text(builder, text) for slot, text in texts.items()})
    builder.Finish(_table(builder, 8, fields), IDENTIFIER)
    return bytes(builder.Output())


def _encode_tensor(builder: Any, tensor: TensorMetadata) -> int:
    properties = (
        _table(builder, 2, {}, {0: _number(_COLOURS, tensor.colour)})
        if tensor.content == "image"
        else _table(builder, 0, {})
    )
    kind = _number(_CONTENTS, tensor.content)
    content = _table(builder, 3, {1: properties}, {0: kind}) if kind else 0
    units = 0
    if tensor.mean:
        options = _table(
            builder, 2, {0: _floats(builder, tensor.mean), 1: _floats(builder, tensor.std)}
        )
        units = _tables(builder, [_table(builder, 2, {1: options}, {0: _NORMALIZATION})])
    stats = 0
    if tensor.minimum:
        stats = _table(
            builder, 2, {0: _floats(builder, tensor.maximum), 1: _floats(builder, tensor.minimum)}
        )
    files = _encode_file(builder, tensor.labels_file, _number(_LABELS, tensor.labels_kind))
    fields = {
        0: _text(builder, tensor.name),
        1: _text(builder, tensor.description),
        3: content,
        4: units,
        5: stats,
        6: files,
    }
    return _table(builder, 7, fields)


def _encode_file(builder: Any, name: str, kind: int) -> int:
    if not name:
        return 0
    return _tables(builder, [_table(builder, 4, {0: _text(builder, name)}, {2: kind})])


def _table(
    builder: Any, slots: int, offsets: Mapping[int, int], bytes_: Mapping[int, int] | None = None
) -> int:
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (bytes_ or {}).items():
        builder.PrependInt8Slot(slot, value, 0)
    return int(builder.EndObject())


def _tables(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _text(builder: Any, text: str) -> int:
    return int(builder.CreateString(text[:_MAX_CHARACTERS], errors="replace")) if text else 0


def _number(names: Mapping[int, str], name: str) -> int:
    return next((number for number, known in names.items() if known == name), 0)


def decode(content: bytes) -> Description:
    """The description in a buffer; raises ``ModelError`` for a damaged one."""
    top = root(content, IDENTIFIER)
    subgraphs = top.tables(3, _MAX_TENSORS)
    main = subgraphs[0] if subgraphs else None
    inputs = main.tables(2, _MAX_TENSORS) if main else []
    outputs = main.tables(3, _MAX_TENSORS) if main else []
    shared = [*(main.tables(4, _MAX_UNITS) if main else []), *top.tables(6, _MAX_UNITS)]
    return Description(
        name=top.text(0),
        description=top.text(1),
        version=top.text(2),
        author=top.text(4),
        license=top.text(5),
        parser=top.text(7),
        inputs=tuple(_decode_tensor(tensor) for tensor in inputs),
        outputs=tuple(_decode_tensor(tensor) for tensor in outputs),
        labels_file=_labels_file(shared, {_DESCRIPTIONS, *_LABELS})[0],
    )


def _decode_tensor(tensor: Table) -> TensorMetadata:
    content = tensor.table(3)
    kind = content.number(0, "<B") if content else 0
    properties = content.table(1) if content and kind == _IMAGE else None
    units = [
        unit for unit in tensor.tables(4, _MAX_UNITS) if unit.number(0, "<B") == _NORMALIZATION
    ]
    normalization = units[0].table(1) if units else None
    stats = tensor.table(5)
    file, labels = _labels_file(tensor.tables(6, _MAX_UNITS), set(_LABELS))
    return TensorMetadata(
        name=tensor.text(0),
        description=tensor.text(1),
        content=_CONTENTS.get(kind, ""),
        colour=_COLOURS.get(properties.number(0, "<b"), "") if properties else "",
        mean=normalization.numbers(0, "f", _MAX_NUMBERS) if normalization else (),
        std=normalization.numbers(1, "f", _MAX_NUMBERS) if normalization else (),
        minimum=stats.numbers(1, "f", _MAX_NUMBERS) if stats else (),
        maximum=stats.numbers(0, "f", _MAX_NUMBERS) if stats else (),
        labels_file=file,
        labels_kind=_LABELS.get(labels, ""),
    )


def _labels_file(files: Sequence[Table], kinds: set[int]) -> tuple[str, int]:
    """Name and type of the first file with labels; one that only describes goes by its name."""
    for file in files:
        kind, name = file.number(2, "<b"), file.text(0)
        if kind in kinds and (kind in _LABELS or name == LABELS_NAME):
            return name, kind
    return "", 0
