"""Reading tables of a flatbuffer that nobody vouches for.

The layout is that of the FlatBuffers internals document: offsets to tables, vectors and
strings are unsigned and point forward, a table begins with the signed way back to its
vtable. Every access stays inside the bytes, or is a ``ModelError``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.errors import ModelError

#: A string beyond this is damage, not a name.
MAX_TEXT = 65_536

_IDENTIFIER = slice(4, 8)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the whole buffer, where the table begins, and where its vtable is."""

    data: bytes
    position: int
    vtable: int
    slots: int

    def field(self, slot: int) -> int:
        """Where a field's value stands; 0 where the table leaves it out."""
        if slot >= self.slots:
            return 0
        (offset,) = unpack(self.data, "<H", self.vtable + 4 + 2 * slot)
        return self.position + offset if offset else 0

    def number(self, slot: int, form: str, default: int = 0) -> int:
        """A scalar field; ``form`` as in ``struct``."""
        where = self.field(slot)
        return int(unpack(self.data, form, where)[0]) if where else default

    def target(self, slot: int) -> int:
        """Where the table, vector or string of a field begins; 0 where it is left out."""
        where = self.field(slot)
        return follow(self.data, where) if where else 0

    def table(self, slot: int) -> Table | None:
        """The table of a field."""
        where = self.target(slot)
        return table_at(self.data, where) if where else None

    def vector(self, slot: int, width: int, most: int) -> tuple[int, int]:
        """First element and number of elements of a vector; at most ``most`` are believed."""
        where = self.target(slot)
        if not where:
            return 0, 0
        (count,) = unpack(self.data, "<I", where)
        if count > most or where + 4 + count * width > len(self.data):
            raise damaged()
        return where + 4, count

    def positions(self, slot: int, most: int) -> list[int]:
        """Where the tables of a vector begin."""
        start, count = self.vector(slot, 4, most)
        return [follow(self.data, start + 4 * index) for index in range(count)]

    def tables(self, slot: int, most: int) -> list[Table]:
        """The tables of a vector."""
        return [table_at(self.data, where) for where in self.positions(slot, most)]

    def numbers(self, slot: int, form: str, most: int) -> tuple[float, ...]:
        """A vector of scalars; ``form`` is one letter of ``struct``."""
        start, count = self.vector(slot, struct.calcsize("<" + form), most)
        return unpack(self.data, f"<{count}{form}", start) if count else ()

    def octets(self, slot: int, most: int) -> bytes:
        """A vector of bytes."""
        start, count = self.vector(slot, 1, most)
        return self.data[start : start + count]

    def text(self, slot: int) -> str:
        """A string; what is no UTF-8 in it is replaced."""
        return self.octets(slot, MAX_TEXT).decode("utf-8", "replace")


def root(data: bytes, identifier: bytes) -> Table:
    """The root table of a buffer with this file identifier."""
    if data[_IDENTIFIER] != identifier:
        raise ModelError(f"damaged: the identifier {identifier.decode()} is missing")
    return table_at(data, follow(data, 0))


def table_at(data: bytes, position: int) -> Table:
    """The table that begins at ``position``."""
    (back,) = unpack(data, "<i", position)
    vtable = position - back
    (size,) = unpack(data, "<H", vtable)
    return Table(data, position, vtable, max(0, size - 4) // 2)


def follow(data: bytes, position: int) -> int:
    """Where the offset at ``position`` points."""
    (offset,) = unpack(data, "<I", position)
    if not 0 < offset <= len(data) - position:
        raise damaged()
    return position + int(offset)


def unpack(data: bytes, form: str, position: int) -> tuple[int, ...]:
    """``struct.unpack_from`` that knows no negative positions."""
    if not 0 <= position <= len(data) - struct.calcsize(form):
        raise damaged()
    return struct.unpack_from(form, data, position)


def damaged() -> ModelError:
    """What a buffer is that points outside of itself."""
    return ModelError(
        "damaged or truncated: it points outside of itself",
        hint="copy or convert the model again",
    )
