"""The emulated arm64 Debian for real: QEMU, namespaces, OpenSSH's server, LiteRT for arm64."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.config.devices import find_device
from harness.devices.session import Session
from harness.emulation.linux_arm64 import root
from harness.emulation.linux_arm64.target import LinuxArm64Target
from harness.errors import HarnessError
from harness.transports import TRANSPORTS
from tests.support import harness_command

Cli = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture
def session(emulated_arm64: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("HARNESS_DEVICES", str(emulated_arm64.parent))
    device = find_device("emulated-arm64", TRANSPORTS)
    assert device.kind.value == "emulated"
    with Session(device, "test") as opened:
        yield opened


def test_what_a_session_meets(session: Session) -> None:
    def said(*argv: str) -> str:
        return session.transport.run(list(argv)).stdout.decode().strip()

    assert said("uname", "-m") == "aarch64"
    assert said("id", "-un") == "edge"
    assert "0xd0b" in said("cat", "/proc/cpuinfo")
    # Also for what a session's own children start.
    assert said("sh", "-c", "sh -c 'echo $QEMU_CPU'") == "cortex-a76"
    assert said("cat", "/proc/1/comm") != "systemd"
    assert said("ls", "/sys/devices/system/cpu/online") == "/sys/devices/system/cpu/online"
    assert session.transport.run(["touch", "/usr/x"]).exit_code != 0


def rows(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return {(row["device"], row["recipe"]): row for row in json.loads(done.stdout)}


def test_accuracies_are_those_of_this_machine(
    cli: Cli, emulated_arm64: Path, digits: dict[str, Path], suite_file: Callable[..., Path]
) -> None:
    """And no report says how long an emulated processor took."""
    recipes = ("float32", "int8")
    suite = suite_file(
        devices=("local", "emulated-arm64"), recipes=recipes, limit=120, policy="max_seconds = 0.5"
    )
    env = {"HARNESS_DEVICES": str(emulated_arm64.parent)}
    found = rows(cli("run", str(suite), "--format", "json", env=env))
    for recipe in recipes:
        here, there = found["local", recipe], found["emulated-arm64", recipe]
        assert there["accuracy"] == here["accuracy"] > 0.9
        assert (there["kind"], there["status"]) == ("emulated", "ok")
        assert here["latency_median_ms"] > 0 and here["memory_peak_mb"] > 0
        for name, value in there.items():
            if name.endswith(("_ms", "memory_peak_mb")) or name in ("trials", "runs"):
                assert value is None, name
        assert "outputs_differ" not in there["advisories"]
    markdown = cli("table", "last", "--format", "markdown").stdout
    assert markdown.count("emulated, not a latency") == len(recipes)
    assert "not a latency" in cli("table", "last").stdout


def test_outputs_of_the_wrong_cpu_are_found_out(
    cli: Cli, arm64_root: Path, digits: dict[str, Path], suite_file: Callable[..., Path]
) -> None:
    """XNNPACK's int8 kernels are wrong on QEMU's default CPU: nobody shall believe a number."""
    suite = suite_file(devices=("wrong",), recipes=("int8",), policy='measure = ["accuracy"]')
    done = cli(
        "emulate", "linux-arm64", "--cpu", "max", "--name", "wrong", "--",
        *harness_command(), "run", str(suite), "--format", "json",
    )  # fmt: skip
    row = rows(done)["wrong", "int8"]
    assert "outputs_differ" in row["advisories"]
    assert row["accuracy"] < 0.5


def test_it_stays_until_a_signal_and_leaves_nothing(arm64_root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    saved = tmp_path / "edge-harness" / "devices" / "board.toml"
    with _emulating("--name", "board", "--save", environment=environment) as (process, profile):
        assert saved.is_file() and _answers(profile["port"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not saved.exists() and not Path(profile["identity_file"]).exists()
    assert not _answers(profile["port"])


def test_killed_it_leaves_no_server_behind(arm64_root: Path) -> None:
    with _emulating(environment=dict(os.environ)) as (process, profile):
        work = Path(profile["identity_file"]).parent
        assert work.is_dir() and _answers(profile["port"])
        process.kill()
        process.wait()
        assert _within(20, lambda: not work.exists())
        assert not _answers(profile["port"])


@contextlib.contextmanager
def _emulating(
    *options: str, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*harness_command(), "emulate", "linux-arm64", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stderr is not None
        text = ""
        while "runtime" not in text:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        while "Ctrl-C ends it" not in process.stderr.readline():
            assert process.poll() is None
        yield process, tomllib.loads(text)
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as link:
        return link.recv(4) == b"SSH-"
    return False


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (happened := happens()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return happened


def test_a_command_with_the_target_up(cli: Cli, arm64_root: Path) -> None:
    done = cli("emulate", "linux-arm64", "--", "sh", "-c", "ls $HARNESS_DEVICES; exit 7")
    assert done.returncode == 7 and done.stdout == "emulated-arm64.toml\n"
    done = cli("emulate", "linux-arm64", "--", "no-such-program")
    assert done.returncode == 2 and "cannot run 'no-such-program'" in done.stderr


def test_a_port_of_somebody_else(arm64_root: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with LinuxArm64Target(port=port) as target:
            with pytest.raises(HarnessError, match=f"port {port} of 127.0.0.1 is in use"):
                target.start(lambda text: None)
    with LinuxArm64Target() as target:
        target.start(lambda text: None)
        target.stop()
        target.stop()


def test_a_killed_build_is_not_taken_for_a_finished_one(arm64_root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HARNESS_EMULATION_ROOTS": str(tmp_path)}
    # Who runs tests in the background may have us ignore what a terminal's Ctrl-C sends.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    main = "from harness.emulation.linux_arm64.root import main; main()"
    command = [sys.executable, "-c", f"{heeded}; {main}"]

    def parts() -> list[Path]:
        return [path for path in tmp_path.glob("*.part-*") if path.is_dir()]

    def begin() -> tuple[subprocess.Popen[bytes], Path]:
        before = parts()
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        assert _within(60, lambda: any((p / "debian").is_dir() for p in parts() if p not in before))
        (part,) = (path for path in parts() if path not in before)
        return process, part

    process, left = begin()
    process.kill()
    process.wait()
    assert left.is_dir() and not (tmp_path / arm64_root.name).exists()
    assert _within(20, lambda: not _processes(str(left)))
    process, _ = begin()
    assert not left.exists()
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert not parts() and not (tmp_path / arm64_root.name).exists()


def _processes(mark: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if mark in line]


_ON_A_MACHINE_WITH = """
import os, subprocess, sys
from pathlib import Path
from harness.emulation import linux
from harness.emulation.linux_arm64 import binfmt, held, inside

where, qemu, root = sys.argv[1:]
uid, gid = os.getuid(), os.getgid()
linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
linux.map_ids(0, uid, gid)
linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
place = Path("/proc/sys/fs/binfmt_misc")
if qemu:
    binfmt.register(place, qemu)
else:
    linux.mount("binfmt_misc", str(place), "binfmt_misc")
spec = inside.Spec(["/usr/bin/uname", "-m"], root=root)
process = held.hold(spec, subprocess.PIPE)
said = process.stdout.read().decode()
code = held.release(process)
print(said.strip() if code == 0 else held.failure(where, code, said))
"""


@pytest.mark.parametrize("registered", [True, False])
def test_the_machines_own_registration(arm64_root: Path, registered: bool) -> None:
    """As on kernels before 6.7: a namespace of ours plays the machine."""
    qemu = root.check_machine() if registered else ""
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_MACHINE_WITH, "the test", qemu, str(arm64_root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "binfmt_misc" in done.stderr and "Operation not permitted" in done.stderr:
        from tests.support import needed

        needed("this kernel has no binfmt_misc of a user namespace's own (Linux 6.7)")
    assert done.returncode == 0, done.stderr
    if registered:
        assert done.stdout == "aarch64\n"
    else:
        assert "apt install qemu-user-static binfmt-support" in done.stdout
