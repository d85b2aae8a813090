"""Files on a device, by content hash: what is there is not sent again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import (
    AgentSetupError,
    DeviceFullError,
    LinkLostError,
    ProtocolError,
    PushError,
)

if TYPE_CHECKING:
    from harness.transports import Transport

T = TypeVar("T")

#: Room that must stay free on the device beyond what is pushed, bytes.
SPARE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the host that a device needs."""

    path: Path
    sha256: str
    size: int
    what: str
    executable: bool = False


class BlobStore:
    """The device's content store, driven through ``device_agents/python/blobstore.py``."""

    def __init__(self, transport: Transport, device: str, helper: str) -> None:
        self._transport = transport
        self._device = device
        self._helper = helper
        self.root = ""
        self.bytes_sent = 0

    def path(self, blob: Blob) -> str:
        """Where a pushed blob is on the device."""
        return f"{self.root}/blobs/{blob.sha256}"

    def push(self, blobs: Sequence[Blob], progress: Callable[[int, int], None]) -> int:
        """Bring every blob to the device; returns the bytes that were sent.

        ``progress(sent, total)`` in bytes. Each file is hashed on the device before it counts.
        Raises ``DeviceFullError``, ``PushError``, ``LinkLostError``, ``AgentSetupError``.
        """
        from harness.transports.transport import Upload

        wanted = {blob.sha256: blob for blob in blobs}
        look = self._call(
            {
                "op": "look",
                "root": self.root or self._transport.work_dir,
                "blobs": [[blob.sha256, blob.size] for blob in wanted.values()],
            }
        )
        self.root = self._field(look, "root", str)
        names = self._field(look, "missing", list)
        missing = [wanted[name] for name in names if isinstance(name, str) and name in wanted]
        if not missing:
            self._make_executable(blobs)
            return 0
        total = sum(blob.size for blob in missing)
        free = self._field(look, "free_bytes", int)
        if total + SPARE_BYTES > free:
            raise DeviceFullError(
                f"{self._device}: {total:,} bytes to push and {free:,} free in {self.root}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        token = secrets.token_hex(6)
        sent = 0

        def report(count: int) -> None:
            nonlocal sent
            sent += count
            progress(sent, total)

        for blob in missing:
            part = f"{self.root}/parts/{blob.sha256}.{token}"
            try:
                self._transport.put([Upload(blob.path, part)], report)
            except PushError:
                self._call({"op": "drop", "root": self.root, "token": token})
                self._raise_if_full(blob)
                raise
        reply = self._call(
            {
                "op": "commit",
                "root": self.root,
                "token": token,
                "blobs": [blob.sha256 for blob in missing],
            }
        )
        bad = self._field(reply, "bad", list)
        if bad:
            damaged = ", ".join(blob.what for blob in missing if blob.sha256 in bad)
            raise PushError(
                f"{self._device}: what arrived is not what was sent: {damaged}",
                hint="check the device's disk and link; the push is tried again",
            )
        self.bytes_sent += total
        self._make_executable(blobs)
        return total

    def _make_executable(self, blobs: Sequence[Blob]) -> None:
        paths = [self.path(blob) for blob in blobs if blob.executable]
        if paths:
            self._transport.run(["chmod", "700", *paths])

    def _raise_if_full(self, blob: Blob) -> None:
        look = self._call({"op": "look", "root": self.root, "blobs": []})
        free = self._field(look, "free_bytes", int)
        if free < blob.size + SPARE_BYTES:
            raise DeviceFullError(
                f"{self._device}: no space left for {blob.what} ({blob.size:,} bytes; "
                f"{free:,} free in {self.root})",
                hint="free some space on the device, or set its work_dir to another disk",
            )

    def _field(self, reply: dict[str, Any], name: str, kind: type[T]) -> T:
        value = reply.get(name)
        if type(value) is not kind:
            raise ProtocolError(f"{self._device}: the device answered {str(reply)[:120]!r}")
        return value

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        python = self._transport.python
        done = self._transport.run(
            [python, "-c", self._helper], stdin=json.dumps(request).encode(), timeout=120
        )
        errors = " ".join(done.stderr.decode("utf-8", "replace").split())[-400:]
        if done.exit_code in (126, 127):
            raise AgentSetupError(
                f"{self._device}: there is no {python} on the device ({errors or 'not found'})",
                hint="install Python 3.7 or later there, or set `python` of this device",
            )
        if done.exit_code != 0:
            if "No space left" in errors or "Errno 28" in errors:
                raise DeviceFullError(
                    f"{self._device}: no space left in {request['root']}",
                    hint="free some space on the device, or set its work_dir to another disk",
                )
            if done.exit_code < 0:
                raise LinkLostError(f"{self._device}: {python} was cut off")
            raise AgentSetupError(
                f"{self._device}: {python} could not prepare {request['root']}: {errors}",
                hint="is it Python 3.7 or later, and may this user write there?",
            )
        try:
            # A login script may print before the answer; the answer is the last line.
            reply = json.loads(done.stdout.splitlines()[-1])
            if not isinstance(reply, dict) or not {"root", "bad"} & set(reply):
                raise ValueError
        except (ValueError, IndexError, RecursionError):
            raise ProtocolError(
                f"{self._device}: {python} answered {bytes(done.stdout[:120])!r}"
            ) from None
        return reply
