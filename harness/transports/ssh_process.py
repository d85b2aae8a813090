"""A command that runs on the other end of an ssh link."""

from __future__ import annotations

import contextlib
from functools import partial

import paramiko

from harness.errors import LinkLostError
from harness.transports.lines import LineReader, Tail


def read_stderr(channel: paramiko.Channel) -> bytes:
    """The next of stderr; the channel's time-out is meant for stdout."""
    while True:
        try:
            return bytes(channel.recv_stderr(4096))
        except TimeoutError:
            continue
        except (EOFError, paramiko.SSHException):  # the link went while it was answered
            return b""


def feed(channel: paramiko.Channel, data: bytes) -> None:
    """Send all of a command's stdin and end it.

    A command may end without reading its input: that closes the channel and is no error, since
    what it printed and its exit code still follow. A lost link shows when they are read.
    Raises ``TimeoutError``.
    """
    try:
        if data:
            channel.sendall(data)
        channel.shutdown_write()
    except TimeoutError:
        raise
    except OSError:
        if not channel.closed:
            raise


def end(channel: paramiko.Channel) -> None:
    """Close it; never raises, over a link that has gone neither."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        channel.close()


class SshProcess:
    """A command on an exec channel."""

    def __init__(self, channel: paramiko.Channel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._lines = LineReader(self._receive)
        self._tail = Tail(partial(read_stderr, channel))

    def _receive(self, timeout: float) -> bytes | None:
        self._channel.settimeout(timeout)
        try:
            data: bytes = self._channel.recv(1 << 16)
        except TimeoutError:
            return None
        except OSError as error:
            raise LinkLostError(f"{self._name}: the link was cut: {error}") from None
        transport = self._channel.get_transport()
        if not data and not (transport and transport.is_active()):
            raise LinkLostError(f"{self._name}: the link was cut")
        return data

    def send(self, data: bytes) -> None:
        """See ``Process``."""
        try:
            self._channel.settimeout(30)
            self._channel.sendall(data)
        except (OSError, paramiko.SSHException):
            raise LinkLostError(f"{self._name}: nobody reads the request") from None

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        return self._lines.read_line(timeout)

    def wait(self, timeout: float) -> int | None:
        """See ``Process``. A death by signal comes as 255 or 128 + signal, as sshd reports it."""
        if not self._channel.status_event.wait(timeout):
            return None
        # -1 is paramiko's word for an end without a status: killed, or cut off.
        return None if self._channel.exit_status == -1 else int(self._channel.exit_status)

    def kill(self) -> None:
        """See ``Process``. The agent ends by itself when its stdin does."""
        end(self._channel)

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._tail.text()
