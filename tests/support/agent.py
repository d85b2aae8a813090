"""Speaking to a real agent process by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_agents.python import wire
from harness.devices import messages as checked
from harness.devices.agents import AGENTS
from harness.devices.bundle import agent_bundle
from harness.domain import Device, DeviceKind
from harness.transports.local import LocalTransport
from tests.support import needed


class AgentProcess:
    """The bundled agent in a process of its own, or any other ``command``."""

    def __init__(
        self, python: str = sys.executable, *arguments: str, env: Any = None,
        command: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.process = subprocess.Popen(
            command or [python, str(agent_bundle().path), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
        )  # fmt: skip

    def say(self, request: dict[str, Any] | bytes) -> None:
        """Send one request, or raw bytes."""
        assert self.process.stdin
        data = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next message."""
        assert self.process.stdout
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def rest(self) -> tuple[list[dict[str, Any]], int, str]:
        """Every message to the end, the exit code, and stderr."""
        assert self.process.stdout and self.process.stderr
        # stdin stays open: an agent whose host has gone ends at once.
        messages = [json.loads(line) for line in self.process.stdout]
        stderr = self.process.stderr.read().decode()
        code = self.process.wait(10)
        self.close()
        return messages, code, stderr

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.communicate()


def exchange(
    request: dict[str, Any], *arguments: str, command: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """All messages that answer one request, hello first."""
    agent = AgentProcess(sys.executable, *arguments, command=command)
    agent.process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
    agent.process.stdin.flush()  # type: ignore[union-attr]
    assert agent.process.stdout and agent.process.stdin and agent.process.stderr
    try:
        return [json.loads(line) for line in agent.process.stdout]
    finally:
        agent.close()


def request(action: str, model: Path, samples: Path, **more: Any) -> dict[str, Any]:
    """A request of protocol 1 over the digits."""
    return {
        "protocol": 1,
        "action": action,
        "model": {"path": str(model)},
        "samples": {"path": str(samples)},
        "preprocessing": {"scale": 0.0625, "mean": [0.0], "std": [1.0]},
        **more,
    }


def phases(
    messages: Sequence[dict[str, Any]], known: Collection[str] = checked.TIMED
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The samples of a trial that went well by phase: when and what, both (n,).

    ``known`` are the phases that may come.
    """
    assert messages[-1]["type"] == "done", messages[-1]
    parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    for message in messages:
        if message["type"] == "samples":
            phase, at, values = checked.samples(message, "here", known)
            parts.setdefault(phase, []).append((at, values))
    return {
        phase: (np.concatenate([at for at, _ in found]), np.concatenate([v for _, v in found]))
        for phase, found in parts.items()
    }


def command_of(name: str) -> list[str]:
    """What starts the agent of that name on this machine."""
    device = Device(name, DeviceKind.REAL, "local", link={"agent": name})
    program = AGENTS[name](device)
    blobs = program.prepare(LocalTransport(device))
    for blob in blobs:
        if blob.executable:
            blob.path.chmod(0o700)
    return list(program.argv(lambda blob: str(blob.path)))


def swept(messages: Sequence[dict[str, Any]]) -> dict[int, NDArray[Any]]:
    """The outputs of a sweep that went well, one array for each tensor."""
    assert messages[-1]["type"] == "done", messages[-1]
    parts: dict[int, dict[int, NDArray[Any]]] = {}
    for message in messages:
        if message["type"] == "outputs":
            data = wire.unpack(message["data"])
            array = np.frombuffer(data, message["dtype"]).reshape(message["shape"])
            assert len(data) <= wire.MAX_CHUNK_BYTES or len(array) == 1
            parts.setdefault(message["tensor"], {})[message["offset"]] = array
    found = {}
    for tensor, by_offset in parts.items():
        expected = 0
        for offset in sorted(by_offset):
            assert offset == expected
            expected += len(by_offset[offset])
        assert expected == messages[-1]["facts"]["samples"]
        found[tensor] = np.concatenate([by_offset[offset] for offset in sorted(by_offset)])
    return found


def newer_library(folder: Path) -> Path:
    """A ``libLiteRt.so`` that wants a C library newer than there is."""

    def cc(*arguments: str) -> None:
        subprocess.run(["cc", "-shared", "-fPIC", *arguments], cwd=folder, check=True)

    if shutil.which("cc") is None:
        needed("there is no C compiler (Debian: gcc, libc6-dev)")
    (folder / "c.c").write_text("int modern(void) { return 1; }")
    (folder / "rt.c").write_text("int modern(void); int old(void) { return modern(); }")
    for version in ("GLIBC_2.99", "GLIBC_2.2"):  # what it was linked with, and what is here
        (folder / "map").write_text(f"{version} {{ modern; }};")
        cc("c.c", "-o", "libmodern.so", "-Wl,--version-script=map")
        if version == "GLIBC_2.99":
            cc("rt.c", "-o", "libLiteRt.so", "-L.", "-lmodern", f"-Wl,-rpath,{folder}")
    return folder / "libLiteRt.so"


def library_over(real: Path | str, folder: Path, source: str) -> Path:
    """A library that has the functions of ``source`` (C), and all others from ``real``.

    ``real_one(name)`` gives what a function of ``source`` stands in front of.
    """
    if shutil.which("cc") is None:
        needed("there is no C compiler (Debian: gcc, libc6-dev)")
    head = (
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdbool.h>\n#include <stdint.h>\n"
        "#include <stdlib.h>\n#include <unistd.h>\n"
        f'#define real_one(name) dlsym(dlopen("{real}", RTLD_NOW | RTLD_NOLOAD), name)\n'
    )
    (folder / "over.c").write_text(head + source)
    made = folder / "libover.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(made), "over.c", "-Wl,--no-as-needed", str(real),
         f"-Wl,-rpath,{Path(real).parent}"],
        cwd=folder, check=True,
    )  # fmt: skip
    return made
