"""What many simulated devices share of a file: its hash, its graph, its tensors, its cost.

Everything is kept by the sha256 of the file's bytes, so that a thousand devices read a graph once.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from device_agents.python.runtimes import find_runtime
from harness.cache import file_sha256
from harness.domain import Backend
from harness.simulation import Estimate, Graph, estimate, read_graph

#: Files whose hash, graphs, and costs that are kept, at most.
_FILES, _GRAPHS, _COSTS = 20_000, 64, 1024


@dataclass(frozen=True, slots=True)
class Content:
    """A file at ``path`` that holds what ``sha256`` names; two of one hash are equal."""

    sha256: str
    path: Path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


@dataclass(frozen=True, slots=True)
class Tensors:
    """The inputs and outputs of a model as the host's runtime describes them."""

    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]


def content_of(path: str | Path) -> Content:
    """What a file holds. Raises ``OSError``.

    It is hashed once for as long as its inode, size and time of change are the same: links to
    one file are one file.
    """
    file = Path(path)
    found = file.stat()
    key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return Content(_hashed(key, file), file)


_hashes: dict[tuple[int, ...], str] = {}


def _hashed(key: tuple[int, ...], file: Path) -> str:
    known = _hashes.get(key)
    if known is None:
        if len(_hashes) >= _FILES:
            _hashes.clear()
        known = _hashes[key] = file_sha256(file)
    return known


@lru_cache(_GRAPHS)
def graph_of(content: Content) -> Graph:
    """Its graph; raises ``ModelError``."""
    return read_graph(content.path)


def cost_of(content: Content, backend: Backend, profile: Mapping[str, Any]) -> Estimate:
    """What it costs on a device; raises ``ModelError``, ``UnsupportedError``."""
    return _cost(content, backend, json.dumps(profile, sort_keys=True))


@lru_cache(_COSTS)
def _cost(content: Content, backend: Backend, profile: str) -> Estimate:
    size = content.path.stat().st_size
    return estimate(graph_of(content), size, backend, json.loads(profile))


@lru_cache(_GRAPHS)
def tensors_of(content: Content) -> Tensors:
    """Its inputs and outputs; raises what the host's runtime raises of a model it cannot load."""
    with quiet_first_time():
        real = host_runtime().interpreter(str(content.path), 1, "cpu", "latency", {})
        real.allocate_tensors()
    return Tensors(tuple(real.get_input_details()), tuple(real.get_output_details()))


@lru_cache(1)
def host_runtime() -> Any:
    """The runtime of this machine, as an agent finds it; raises ``AgentFailure``."""
    return find_runtime()


_announced = threading.Event()
_announcing = threading.Lock()


@contextlib.contextmanager
def quiet_first_time() -> Iterator[None]:
    """LiteRT announces its CPU delegate once per process on stderr; keep it off the terminal."""
    if _announced.is_set():
        yield
        return
    with _announcing:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)
            _announced.set()


class LazyInterpreter:
    """What the agent sees of a model: described at once, a real interpreter only where it must be.

    Timed inferences are not really run, so that most agents need no more than the description.
    """

    def __init__(self, content: Content) -> None:
        self._tensors = tensors_of(content)
        self._path = str(content.path)
        self._real: Any = None
        self._sizes = {
            int(detail["index"]): int(detail["shape"].prod()) for detail in self._tensors.inputs
        }

    def get_input_details(self) -> list[Mapping[str, Any]]:
        """See LiteRT's ``Interpreter``."""
        return list(self._tensors.inputs)

    def get_output_details(self) -> list[Mapping[str, Any]]:
        """See LiteRT's ``Interpreter``."""
        return list(self._tensors.outputs)

    def allocate_tensors(self) -> None:
        """See LiteRT's ``Interpreter``."""
        if self._real is not None:
            self._real.allocate_tensors()

    def set_tensor(self, index: int, value: Any) -> None:
        """See LiteRT's ``Interpreter``; what is not really run needs no values."""
        if self._real is not None:
            self._real.set_tensor(index, value)
        elif self._sizes.get(index, value.size) != value.size:
            raise ValueError(f"{value.size} values for an input of {self._sizes[index]}")

    def __getattr__(self, name: str) -> Any:
        if self._real is None:
            self._real = host_runtime().interpreter(self._path, 1, "cpu", "latency", {})
            self._real.allocate_tensors()
        return getattr(self._real, name)
