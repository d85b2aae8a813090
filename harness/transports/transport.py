"""What every link offers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from harness.domain import Device

#: Output of one command that is kept, at most; more is a defect of the device.
MAX_OUTPUT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended: exit code and what it printed."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file belongs once its content is known to be right."""

    path: str
    sha256: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be copied: ``remote`` has the first ``offset`` bytes of ``local`` already.

    A link that can hash the file on the device as it comes in moves it to its ``place``.
    """

    local: Path
    remote: str
    offset: int = 0
    place: Place | None = None


class Process(Protocol):
    """A running command with its three streams."""

    def send(self, data: bytes) -> None:
        """Write to its stdin; raises ``LinkLostError`` when nobody reads."""

    def read_line(self, timeout: float) -> bytes:
        """The next line of stdout with its line feed; ``b""`` at the end.

        Raises ``AgentTimeoutError`` after ``timeout`` seconds of silence, ``LinkLostError``
        when the link breaks, ``ProtocolError`` for a line without end.
        """

    def wait(self, timeout: float) -> int | None:
        """The exit code, or ``None`` if it has not ended in time; negative for a signal."""

    def kill(self) -> None:
        """End it now and free what it holds; never raises."""

    def stderr_tail(self) -> str:
        """The last of what it wrote to stderr."""


class Transport(Protocol):
    """A link to one device. Not shared between threads.

    ``runs_on_host`` tells whether the device's work loads this machine's processors: such
    devices are never measured at the same time.
    """

    kind_is_simulated: ClassVar[bool]
    #: Whether ``put`` honours an ``offset``; others are given whole files only.
    resumes: ClassVar[bool]

    @property
    def runs_on_host(self) -> bool:
        """Whether the device's processors are this machine's."""

    @property
    def address(self) -> str:
        """Who is at the other end; two devices of one address are one device."""

    @property
    def python(self) -> str:
        """The device's Python interpreter."""

    @property
    def work_dir(self) -> str:
        """The folder on the device that is ours; may begin with ``~``."""

    def open(self) -> None:
        """Connect; raises ``UnreachableError``, ``HostKeyError``, ``AuthenticationError``."""

    def close(self) -> None:
        """Let go of the link; never raises."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """Run a command to its end; arguments are never interpreted by a shell."""

    def put(
        self, files: Sequence[Upload], progress: Callable[[int], None]
    ) -> Collection[str] | None:
        """Copy files, several at a time where the link gains by it.

        ``progress`` gets bytes of the files as they go. After a cut, what arrived of a file
        stays where it is. Returns the ``remote`` of those that were verified and moved to
        their place. Raises ``TransportError``.
        """

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """Copy a file of at most ``limit`` bytes from the device; returns its size.

        Raises ``PullError`` (not there, unreadable, or larger than ``limit``),
        ``LinkLostError``.
        """

    def start(self, argv: Sequence[str]) -> Process:
        """Start a command whose streams stay open."""

    def stay(self, argv: Sequence[str]) -> Process:
        """Start ``sh -c TEXT NAME ...``, to go on for as long as the link.

        A link may run it in a shell that serves other requests too; see ``stay`` in
        ``device_agents/shell/serve.sh`` for what such a script must do.
        """


TransportFactory = Callable[[Device], Transport]
