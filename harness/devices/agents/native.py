"""The native agent: one small program and the LiteRT library that it loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.cache import file_sha256
from harness.devices.agents.building import built
from harness.devices.agents.libraries import Library, library_for
from harness.devices.agents.targets import check_elf, target_of
from harness.devices.blobs import Blob
from harness.domain import Device
from harness.transports import Transport


class NativeAgent:
    """See ``AgentProgram``."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._binary: Blob | None = None
        self._library: Blob | None = None
        self._found = Library()

    def prepare(self, transport: Transport) -> Sequence[Blob]:
        """See ``AgentProgram``."""
        if self._binary is None:
            link = self._device.link
            target = target_of(transport, self._device.name)
            own = link.get("agent_binary")
            if own:
                check_elf(Path(str(own)), target, "agent_binary")
            self._found = library_for(target, link.get("runtime_library"), self._device.name)
            self._binary = _blob(Path(str(own)) if own else built(target), "agent", True)
            if self._found.path is not None:
                self._library = _blob(self._found.path, "runtime library", False)
        return [self._binary, *([self._library] if self._library else [])]

    def argv(self, path: Callable[[Blob], str]) -> Sequence[str]:
        """See ``AgentProgram``."""
        assert self._binary, "prepare comes first"
        library = path(self._library) if self._library else self._found.remote
        note = ["--version-note", self._found.version] if self._found.version else []
        return [path(self._binary), "--library", library, *note]

    @property
    def program(self) -> str:
        """See ``AgentProgram``."""
        return "the native agent"

    @property
    def missing(self) -> str:
        """See ``AgentProgram``."""
        return (
            "is the folder of work_dir mounted noexec, or was agent_binary built for another "
            "system or a newer C library?"
        )


def _blob(path: Path, what: str, executable: bool) -> Blob:
    return Blob(path, file_sha256(path), path.stat().st_size, what, executable)
