"""A file from a device over ssh: the stream of ``device_agents/shell/send.sh``, bounded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import paramiko

from harness.errors import LinkLostError, ProtocolError, PullError
from harness.transports.lines import MOST_NOISE, Tail, printable
from harness.transports.ssh_process import read_stderr

_HEAD = re.compile(rb"(?:^|\n)edge-harness-file ([0-9]{1,15})\n")

_NOT_THERE = 5

_BLOCK = 1 << 18


def receive(channel: paramiko.Channel, local: Path, limit: int, what: str) -> int:
    """Write what comes to ``local``; returns its size. Raises ``PullError``, ``OSError``."""
    tail = Tail(partial(read_stderr, channel))
    head = b""
    while not (found := _HEAD.search(head)):
        data = channel.recv(1 << 16)
        if not data:
            _raise_end(channel, tail, what)
        head += data
        if len(head) > MOST_NOISE and not _HEAD.search(head):
            raise ProtocolError(f"{what}: the device answered no file")
    size = int(found[1])
    if size > limit:
        raise PullError(f"{what} has {size:,} bytes, and at most {limit:,} were expected")
    data, count = head[found.end() :], 0
    with _written(local) as write:
        data = data or channel.recv(_BLOCK)
        while data:
            count += len(data)
            if count > size:
                raise PullError(f"{what} grew while it was copied")
            write(data)
            data = channel.recv(_BLOCK)
    if count < size:
        _raise_end(channel, tail, what)
    return size


@contextlib.contextmanager
def _written(local: Path) -> Iterator[Callable[[bytes], object]]:
    """Writing to a file of this machine, whose faults are not the link's."""

    def write(data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise PullError(f"cannot write {local}: {error.strerror}") from None

    try:
        file = open(local, "wb", buffering=0)  # noqa: SIM115  closed below
    except OSError as error:
        raise PullError(f"cannot write {local}: {error.strerror}") from None
    with file:
        yield write


def _raise_end(channel: paramiko.Channel, tail: Tail, what: str) -> NoReturn:
    channel.status_event.wait(10)
    code = channel.exit_status
    if code < 0:
        raise LinkLostError(f"{what}: the link was cut")
    if code == _NOT_THERE:
        raise PullError(f"{what}: there is no such file")
    raise PullError(f"{what} cannot be read: {printable(tail.text()) or code}")
