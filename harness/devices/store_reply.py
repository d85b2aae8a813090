"""What ``device_agents/shell/store.sh`` answers, read without trust."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from harness.devices import messages
from harness.errors import ProtocolError

_BEGIN = b"edge-harness-store 1\n"
_END = b"\nend\n"

#: More files than this in a store are no store of ours.
_MAX_FILES = 50_000

_HAS = re.compile(rb"has ([0-9a-f]{64})")
_FILE = re.compile(rb"(blob|part|gone) ([0-9a-f]{64}(?:\.[0-9a-f]{8,32})?(?:\.\w+)?) ([0-9]{1,15})")
_FREE = re.compile(rb"free_kb ([0-9]{1,15})")


@dataclass
class StoreReply:
    """``root`` is absolute; ``blobs`` are the store's files, newest first, with their sizes.

    ``has`` are the files that were hashed just now and are what their names say; ``parts`` and
    ``gone`` (by ``clean``) are files with their sizes.
    """

    root: str = ""
    free_bytes: int | None = None
    has: set[str] = field(default_factory=set)
    blobs: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)


def parse(output: bytes, device: str) -> StoreReply:
    """The answer in what the script printed; raises ``ProtocolError`` that shows it."""
    # A login script may print before the answer.
    _, begin, body = output.partition(_BEGIN)
    lines, at, root = body.partition(b"root /")
    if not begin or not at or not root.endswith(_END) or lines.count(b"\n") > _MAX_FILES:
        raise _nonsense(output, device)
    reply = StoreReply()
    try:
        reply.root = "/" + root[: -len(_END)].decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError(
            f"{device}: the work folder's name is not UTF-8: {root[:120]!r}",
            hint="set work_dir of this device to another folder",
        ) from None
    if len(root) > 4096 or "\0" in reply.root:
        raise _nonsense(output, device)
    groups = {b"blob": reply.blobs, b"part": reply.parts, b"gone": reply.gone}
    for line in lines.splitlines():
        if found := _HAS.fullmatch(line):
            reply.has.add(found[1].decode())
        elif found := _FILE.fullmatch(line):
            groups[found[1]][found[2].decode()] = int(found[3])
        elif found := _FREE.fullmatch(line):
            reply.free_bytes = int(found[1]) * 1024
        elif not line.startswith((b"blob ", b"part ")):  # a file of somebody else's
            raise _nonsense(line, device)
    return reply


def _nonsense(seen: bytes, device: str) -> ProtocolError:
    text = messages.clean(seen[:160].decode("utf-8", "replace"))
    return ProtocolError(
        f"{device}: its store of files answered {text!r}",
        hint="does the login shell of the device's user print something at its end?",
    )
