"""What an emulated target is: something to start, a profile that reaches it, an end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

#: Told what is going on, one line at a time.
Tell = Callable[[str], None]


class Target(Protocol):
    """A device that is made of programs of this machine.

    A context manager that stops it; classes inherit that from here. Everything it starts ends
    with it, also when the harness is killed, and its records are of kind ``emulated``.
    """

    name: str
    title: str

    def start(self, tell: Tell) -> str:
        """Start it, and return the text of a device profile (TOML) that reaches it."""

    def stop(self) -> None:
        """End it; nothing happens if it does not run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@runtime_checkable
class Preparable(Protocol):
    """A target of which something is made once and kept; ``start`` does that too."""

    def prepare(self, tell: Tell) -> None:
        """Make it, if it is not there; raises ``HarnessError``."""
