"""Files on a device, by content hash: what is there is not sent again."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cache import cache_dir, whole_file
from harness.errors import (
    AgentSetupError,
    DeviceFullError,
    LinkLostError,
    PushError,
)

if TYPE_CHECKING:
    from harness.devices.store_reply import StoreReply
    from harness.transports import Transport

#: Room that must stay free on the device beyond what is pushed, bytes.
SPARE_BYTES = 4 * 1024 * 1024

#: Files that one command line names, at most; Android's takes 128 KiB.
_AT_ONCE = 400

#: Seconds for one run of the helper script: a slow card hashes some 10 MB in each of them.
STORE_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the host that a device needs; ``executable`` where it is a program there."""

    path: Path
    sha256: str
    size: int
    what: str
    executable: bool = False


class BlobStore:
    """The device's content store, driven through ``device_agents/shell/store.sh``.

    ``limit_bytes`` is the most that its files may take; those that were not used for longest
    go first, and never one that this session has pushed.
    """

    def __init__(self, transport: Transport, device: str, limit_bytes: int) -> None:
        self._transport = transport
        self._device = device
        self._limit = limit_bytes
        self._used: set[str] = set()
        self.root = ""
        self.bytes_sent = 0

    def path(self, blob: Blob) -> str:
        """Where a pushed blob is on the device."""
        return f"{self.root}/blobs/{blob.sha256}"

    def push(self, blobs: Sequence[Blob], progress: Callable[[int, int], None]) -> int:
        """Bring every blob to the device; returns the bytes that were sent.

        ``progress(sent, total)`` in bytes. Each file is hashed on the device before it counts,
        and what a cut left of one is not sent again. Raises ``DeviceFullError``, ``PushError``,
        ``LinkLostError``, ``AgentSetupError``.
        """
        from harness.transports.transport import Place, Upload

        wanted = _merged(blobs)
        token = self._token()
        look = self._call("look", token, wanted.values())
        self.root = look.root
        self._used |= look.has
        missing = [blob for name, blob in wanted.items() if name not in look.has]
        if not missing:
            return 0

        def there(blob: Blob) -> int:
            size = look.parts.get(f"{blob.sha256}.{token}", 0) if self._transport.resumes else 0
            return size if size <= blob.size else 0

        uploads = [
            Upload(
                blob.path,
                f"{self.root}/parts/{blob.sha256}.{token}",
                there(blob),
                Place(self.path(blob), blob.sha256, blob.executable),
            )
            for blob in missing
        ]
        total = sum(blob.size - there(blob) for blob in missing)
        self._make_room(look, token, wanted, total)
        sent = 0

        def report(count: int) -> None:
            nonlocal sent
            sent += count
            progress(sent, total)

        try:
            placed = self._transport.put(uploads, report) or ()
        except (PushError, DeviceFullError):
            # What came of it would only keep out what fits.
            self._raise_if_full(self._call("drop", token), missing)
            raise
        there_now = {file.place.sha256 for file in uploads if file.place and file.remote in placed}
        if left := [blob for blob in missing if blob.sha256 not in there_now]:
            there_now |= self._call("commit", token, left).has
        self._used |= there_now
        damaged = [blob.what for blob in missing if blob.sha256 not in there_now]
        if damaged:
            raise PushError(
                f"{self._device}: what arrived is not what was sent: {', '.join(damaged)}",
                hint="check the device's disk and link; the push is tried again",
            )
        self.bytes_sent += total
        return total

    def clean(self) -> StoreReply:
        """Remove everything of ours; ``gone`` of the answer says what that was."""
        return self._call("clean", self._token())

    def _token(self) -> str:
        """Marks our own parts: of this host's cache, for this device. Its lock guards both."""
        file = cache_dir("host") / "id"
        if not file.exists():
            with whole_file(file) as part:
                part.write_text(secrets.token_hex(16))
        text = f"{file.read_text()} {self._transport.address}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _make_room(self, look: StoreReply, token: str, wanted: dict[str, Blob], total: int) -> None:
        """Let go of what was not used for longest, where the bound or the disk asks for it."""
        stored = sum(look.blobs.values()) + sum(look.parts.values())
        free = look.free_bytes
        excess = stored + total - self._limit
        lacking = 0 if free is None else total + SPARE_BYTES - free
        oldest = [name for name in reversed(look.blobs) if name not in wanted.keys() | self._used]
        victims: list[str] = []
        while oldest and (excess > 0 or lacking > 0):
            victims.append(oldest.pop(0))
            excess -= look.blobs[victims[-1]]
            lacking -= look.blobs[victims[-1]]
        if excess > 0:
            raise DeviceFullError(
                f"{self._device}: {total:,} bytes to push, and pushed files may take "
                f"{self._limit:,} there",
                hint="set a larger work_dir_mb of this device",
            )
        if lacking > 0:
            raise DeviceFullError(
                f"{self._device}: {total:,} bytes to push and {free:,} free in {self.root}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        if victims:
            self._run("evict", token, [f"{name}:" for name in victims])

    def _raise_if_full(self, reply: StoreReply, missing: Iterable[Blob]) -> None:
        largest = max(missing, key=lambda blob: blob.size)
        if reply.free_bytes is not None and reply.free_bytes < largest.size + SPARE_BYTES:
            raise DeviceFullError(
                f"{self._device}: no space left for {largest.what} ({largest.size:,} bytes; "
                f"{reply.free_bytes:,} free in {self.root})",
                hint="free some space on the device, or set its work_dir to another disk",
            )

    def _call(self, op: str, token: str, blobs: Iterable[Blob] = ()) -> StoreReply:
        marks = [f"{blob.sha256}:{'x' if blob.executable else ''}" for blob in blobs]
        return self._run(op, token, marks)

    def _run(self, op: str, token: str, marks: Sequence[str]) -> StoreReply:
        """One run of the helper script; several where one command line cannot name all files."""
        reply = self._run_once(op, token, marks[:_AT_ONCE])
        for index in range(_AT_ONCE, len(marks), _AT_ONCE):
            more = self._run_once(op, token, marks[index : index + _AT_ONCE])
            more.has |= reply.has
            reply = more
        return reply

    def _run_once(self, op: str, token: str, marks: Sequence[str]) -> StoreReply:
        from harness.devices import messages
        from harness.devices.shell import run_script
        from harness.devices.store_reply import parse

        root = self.root or self._transport.work_dir
        done = run_script(
            self._transport, "store.sh", op, root, token, *marks, timeout=STORE_TIMEOUT
        )
        if done.exit_code == 0:
            return parse(done.stdout, self._device)
        said = " ".join(done.stderr[-2000:].decode("utf-8", "replace").split())[-400:]
        errors = messages.clean(said)
        shown = messages.clean(root)
        if done.exit_code < 0:
            raise LinkLostError(f"{self._device}: the device's shell was cut off")
        if done.exit_code == 3:
            raise AgentSetupError(
                f"{self._device}: {errors}", hint="install one of them: files are verified there"
            )
        if done.exit_code in (126, 127):
            raise AgentSetupError(
                f"{self._device}: there is no POSIX shell on the device ({errors or 'not found'})",
                hint="may this user log in and run commands there?",
            )
        if "No space left" in errors or "Disk quota exceeded" in errors:
            raise DeviceFullError(
                f"{self._device}: no space left in {shown}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        raise AgentSetupError(
            f"{self._device}: cannot keep files in {shown}: {errors or done.exit_code}",
            hint="may this user write there? set work_dir of this device to another folder",
        )


def _merged(blobs: Sequence[Blob]) -> dict[str, Blob]:
    """One for each content; executable if any of them is."""
    wanted: dict[str, Blob] = {}
    for blob in blobs:
        if blob.sha256 not in wanted or blob.executable:
            wanted[blob.sha256] = blob
    return wanted
