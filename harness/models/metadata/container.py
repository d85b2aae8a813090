"""Named entries inside a ``.tflite`` file, and files packed behind it.

Offsets of a flatbuffer point forward only, so what is added goes *before* the model: a new
root table with longer lists of buffers and entries, all of whose offsets point into the
model's own bytes, which follow unchanged, each as well aligned as it was. Packed files are
a ZIP archive behind it, uncompressed, as the mobile libraries ask.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import ModelError
from harness.models.metadata.flatbuffer import Table, root, table_at

IDENTIFIER = b"TFL3"

#: An entry of ours, a packed file, and lists longer than this are damage.
MAX_ENTRY = 1 << 20
MAX_FILE = 8 << 20
_MAX_ENTRIES = 1024
_MAX_ITEMS = 1_000_000

#: Flatbuffers and the runtimes that map them count bytes in 31 bits.
_MAX_MODEL = (1 << 31) - 1

#: What is added is a multiple of this long, the widest alignment that a kernel asks for.
_ALIGNMENT = 64

#: Fields of the root table, all offsets but the first (schema 3c; LiteRT adds the last two).
_BUFFERS, _ENTRIES, _ROOT_SLOTS = 4, 6, 10


@dataclass(frozen=True, slots=True)
class Packed:
    """The files behind a model: where the archive begins, and what is in it."""

    start: int
    names: tuple[str, ...] = ()
    archive: zipfile.ZipFile | None = None

    def read(self, name: str) -> bytes | None:
        """A packed file; ``None`` where there is none that can be read, or a huge one."""
        if self.archive is None:
            return None
        try:
            with self.archive.open(name) as stream:
                content = stream.read(MAX_FILE + 1)
        except Exception:  # a foreign archive: zlib, lzma, zipfile and KeyError alike
            return None
        return content if len(content) <= MAX_FILE else None


def packed(content: bytes) -> Packed:
    """The archive behind a model, if there is one."""
    if b"PK\x05\x06" not in content[-66_000:]:
        return Packed(len(content))
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        entries = archive.infolist()
    except Exception:  # what only looks like an archive belongs to the model
        return Packed(len(content))
    if len(entries) > _MAX_ENTRIES:
        return Packed(len(content))
    starts = [entry.header_offset for entry in entries]
    start = min(starts) if starts else len(content) - 22 - len(archive.comment)
    mark = b"PK\x03\x04" if starts else b"PK\x05\x06"
    if content[start : start + 4] != mark or not 0 < _end_of_buffers(content) <= start:
        return Packed(len(content))
    return Packed(start, tuple(entry.filename for entry in entries), archive)


def _end_of_buffers(content: bytes) -> int:
    """Where the last of the weights ends; a model may hold an archive of its own in them."""
    ends = [
        start + count
        for buffer in open_model(content).tables(_BUFFERS, _MAX_ITEMS)
        for start, count in [buffer.vector(0, 1, len(content))]
    ]
    return max(ends, default=0) or 8


def open_model(content: bytes) -> Table:
    """The root table of a ``.tflite`` file."""
    return root(content, IDENTIFIER)


def entry(content: bytes, name: str) -> bytes | None:
    """The first entry of this name; nothing in it where it is too large to be believed."""
    model = open_model(content)
    positions = model.positions(_BUFFERS, _MAX_ITEMS)
    for named in model.tables(_ENTRIES, _MAX_ENTRIES):
        index = named.number(1, "<I")
        if index < len(positions) and named.text(0) == name:
            buffer = table_at(content, positions[index])
            start, size = buffer.vector(0, 1, len(content))
            return content[start : start + size] if size <= MAX_ENTRY else b""
    return None


def fingerprint(model: bytes) -> str:
    """By which a model is known again inside of a longer file."""
    return hashlib.sha256(model).hexdigest()[:16]


def embed(model: bytes, added: Mapping[str, bytes], files: Mapping[str, bytes]) -> bytes:
    """A model, without files behind it, with these entries and files.

    Entries of the same name are replaced. Raises ``ModelError`` for a damaged model, and for
    one that is too large or keeps its weights behind the flatbuffer, where every offset would
    change.
    """
    top = open_model(model)
    _refuse(top, len(model) + sum(map(len, added.values())))
    made = _head(top, added) + model
    return _with_files(made, files) if files else made


def _refuse(model: Table, size: int) -> None:
    if size > _MAX_MODEL - (1 << 22):
        raise ModelError(
            f"{size:,} bytes leave no room for metadata: a flatbuffer ends at 2 GB",
            hint="keep the preprocessing and the labels beside the file",
        )
    if model.slots > _ROOT_SLOTS:
        raise ModelError(
            "its schema is newer than this program's, so nothing can be embedded safely",
            hint="update the harness",
        )
    outside = any(buffer.number(1, "<Q") > 1 for buffer in model.tables(_BUFFERS, _MAX_ITEMS))
    for subgraph in model.tables(2, _MAX_ITEMS):
        if outside:
            break
        outside = any(operator.number(9, "<Q") > 1 for operator in subgraph.tables(3, _MAX_ITEMS))
    if outside:
        raise ModelError(
            "its weights lie behind the flatbuffer, at places counted from the file's beginning",
            hint="keep the preprocessing and the labels beside the file",
        )


def _head(model: Table, added: Mapping[str, bytes]) -> bytes:
    """The new root table and what it needs, to stand right before the model's own bytes."""
    import flatbuffers

    builder = flatbuffers.Builder(4096)
    builder.Prep(_ALIGNMENT, 0)
    # The builder counts from the end of what it writes, so what follows that end is negative.
    buffers = [-position for position in model.positions(_BUFFERS, _MAX_ITEMS)]
    kept: list[int] = []
    free: dict[str, int] = {}
    users = _buffer_users(model)
    for entry in model.tables(_ENTRIES, _MAX_ENTRIES):
        name, index = entry.text(0), entry.number(1, "<I")
        if name not in added:
            kept.append(-entry.position)
        elif users.get(index) == 1 and index < len(buffers):
            free.setdefault(name, index)
    for name, value in added.items():
        builder.Prep(16, len(value))
        data = builder.CreateByteVector(value)
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, data, 0)
        buffer = builder.EndObject()
        index = free.get(name, len(buffers))
        buffers[index : index + 1] = [buffer]
        title = builder.CreateString(name)
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, title, 0)
        builder.PrependUint32Slot(1, index, 0)
        kept.append(builder.EndObject())
    lists = {_BUFFERS: _offsets(builder, buffers), _ENTRIES: _offsets(builder, kept)}
    builder.StartObject(max(8, model.slots))
    builder.PrependUint32Slot(0, model.number(0, "<I"), 0)
    for slot in range(1, _ROOT_SLOTS):
        where = lists.get(slot) or -model.target(slot)
        builder.PrependUOffsetTRelativeSlot(slot, where, 0)
    builder.Finish(builder.EndObject(), IDENTIFIER)
    return bytes(builder.Output())


def _offsets(builder: Any, targets: list[int]) -> int:
    builder.StartVector(4, len(targets), 4)
    for target in reversed(targets):
        builder.PrependUOffsetTRelative(target)
    return int(builder.EndVector())


def _buffer_users(model: Table) -> dict[int, int]:
    """How many tensors and entries use each buffer; the first is everyone's empty one."""
    users = {0: 2}
    for index in model.numbers(5, "i", _MAX_ENTRIES):
        users[int(index)] = users.get(int(index), 0) + 2
    named = [entry.number(1, "<I") for entry in model.tables(_ENTRIES, _MAX_ENTRIES)]
    for subgraph in model.tables(2, _MAX_ITEMS):
        named += [tensor.number(2, "<I") for tensor in subgraph.tables(0, _MAX_ITEMS)]
    for index in named:
        users[index] = users.get(index, 0) + 1
    return users


def _with_files(content: bytes, files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    stream.write(content)
    # Not in mode "a", which would take weights that look like an archive's end for one.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, value in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, value)
    return stream.getvalue()
