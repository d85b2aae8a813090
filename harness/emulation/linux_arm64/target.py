"""The emulated arm64 Linux as a target: root, namespaces and server put together."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from harness.emulation import loopback
from harness.emulation.linux_arm64 import cpu as cpus
from harness.emulation.linux_arm64 import held, root, server, states
from harness.emulation.linux_arm64.inside import USER_ID, Spec
from harness.emulation.linux_arm64.unpack import PACKAGES
from harness.emulation.target import Target, Tell
from harness.errors import HarnessError

#: A free port may be taken by another before the server has it.
_ATTEMPTS = 3
_TAKEN = "Address already in use"


class LinuxArm64Target(Target):
    """Debian for arm64 under QEMU with OpenSSH's server on a loopback port."""

    name = "linux-arm64"

    def __init__(self, port: int = 0, cpu: str = "") -> None:
        self._port = port
        self._cpu = cpus.check(cpu)
        self._process: subprocess.Popen[bytes] | None = None
        self.title = f"Debian 12 for arm64 (QEMU {self._cpu})"

    def prepare(self, tell: Tell) -> None:
        """Make the root, if it is not there."""
        root.ensure_root(tell)

    def start(self, tell: Tell) -> str:
        """Start the server, and return the profile of a device that is reached by it."""
        if self._process is not None:
            raise HarnessError(f"{self.title} runs already")
        where = root.ensure_root(tell)
        qemu = root.check_machine()
        if self._port and not loopback.is_free(self._port):
            raise HarnessError(
                f"port {self._port} of {loopback.HOST} is in use", hint="choose another --port"
            )
        for attempt in range(_ATTEMPTS):
            port = self._port or loopback.free_port()
            # Its files go with the server; what it said must be readable after that.
            with tempfile.TemporaryFile() as log:
                state = self._launch(where, qemu, port, log)
                if server.answers(port, self._alive):
                    break
                log.seek(0)
                self._failed(log.read().decode(errors="replace"), attempt)
        tell(f"OpenSSH's server for arm64 listens on {loopback.HOST}:{port}")
        return self._profile(state, port)

    def stop(self) -> None:
        """End the server and everything that was started by it; its files go with it."""
        process, self._process = self._process, None
        if process is not None:
            held.release(process)

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _launch(self, where: Path, qemu: str, port: int, log: IO[bytes]) -> Path:
        """Start all of it; the folder with its files, which goes when it ends."""
        state, lock = states.new(root.folder() / "running")
        settings, home = state / "ssh", state / "home"
        for path in (settings, home):
            path.mkdir(mode=0o700)
        server.write_settings(settings, state, port, self._cpu)
        (state / "cpuinfo").write_text(cpus.cpuinfo(self._cpu))
        spec = Spec(
            server.COMMAND,
            environment={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "QEMU_CPU": self._cpu},
            user_id=USER_ID,
            root=str(where),
            folders={"/etc/ssh": str(settings), f"/home/{server.USER}": str(home)},
            cpuinfo=str(state / "cpuinfo"),
            qemu=qemu,
            host_name="emulated-arm64",
            remove=str(state),
        )
        try:
            self._process = held.hold(spec, log, (lock,))
        finally:
            os.close(lock)
        return state

    def _failed(self, said: str, attempt: int) -> None:
        """Raise why the server did not come up, unless another port is worth trying."""
        process = self._process
        assert process is not None
        code = process.poll()
        self.stop()
        if code is None:
            raise HarnessError(f"the server of {self.title} does not answer: {said[-600:]}")
        if _TAKEN not in said or self._port or attempt + 1 == _ATTEMPTS:
            raise held.failure(f"the server of {self.title}", code, said)

    def _profile(self, state: Path, port: int) -> str:
        values = {
            "title": self.title,
            "transport": "ssh",
            "kind": "emulated",
            "host": loopback.HOST,
            "port": port,
            "user": server.USER,
            "identity_file": str(state / "identity"),
            "known_hosts": str(state / "known_hosts"),
            "ssh_config": "/dev/null",
            "python": "/usr/bin/python3",
            "runtime": "ai_edge_litert",
            "runtime_library": f"device:/{PACKAGES}/ai_edge_litert/libLiteRt.so",
        }
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
