"""Building the native agent, for which machine it is, and which library goes along."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from harness.devices.agents import building
from harness.devices.agents.building import (
    FLAGS,
    LIBRARIES,
    built,
    one_line,
    write_sources,
)
from harness.devices.agents.libraries import library_for
from harness.devices.agents.native import NativeAgent
from harness.devices.agents.targets import TARGETS, check_elf, target_of, this_machine
from harness.domain import Device, DeviceKind
from harness.errors import AgentSetupError
from harness.transports import Completed
from harness.transports.local import LocalTransport
from tests.conftest import ROOT
from tests.support import needed

LOCAL = Device("here", DeviceKind.REAL, "local", link={"agent": "native"})


@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
def test_it_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        needed(f"no {compiler}")
    write_sources(tmp_path)
    subprocess.run(
        [compiler, *FLAGS, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "agent.c", "-o", "agent",
         *LIBRARIES],
        cwd=tmp_path, check=True,
    )  # fmt: skip


@pytest.mark.slow
def test_it_builds_with_cmake(tmp_path: Path) -> None:
    if not shutil.which("cmake"):
        needed("no cmake")
    folder = str(ROOT / "device_agents" / "native")
    subprocess.run(["cmake", "-S", folder, "-B", str(tmp_path)], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(tmp_path)], check=True, capture_output=True)
    done = subprocess.run([str(tmp_path / "agent")], capture_output=True, check=False)
    assert done.returncode == 2 and b"usage: agent --library" in done.stderr


def test_it_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    target = this_machine()
    assert target
    first = built(target)
    assert os.access(first, os.X_OK) and check_elf(first, target, "agent") is None
    monkeypatch.setattr(building, "_compile", lambda *_: pytest.fail("built again"))
    assert built(target) == first


def test_without_a_compiler_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    for target in TARGETS.values():
        if building.importlib.util.find_spec("ziglang") and target.system == "linux":
            continue
        with pytest.raises(AgentSetupError, match=f"no compiler for {target.name}") as caught:
            built(target)
        assert one_line(target) in str(caught.value) and "agent_binary" in str(caught.value)


def test_a_compiler_that_is_no_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    target = this_machine()
    assert target
    monkeypatch.setenv("CC", 'gcc -DWHAT="')
    with pytest.raises(AgentSetupError, match="CC is no command: No closing quotation"):
        built(target)


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = this_machine()
    assert target
    fake = tmp_path / "cc"
    fake.write_text(
        f"#!/bin/sh\n[ $1 = -dumpmachine ] && echo {target.triple} && exit\n"
        "echo 'fatal error: dlfcn.h: no such file' >&2\nexit 1\n"
    )
    fake.chmod(0o700)
    monkeypatch.setenv("CC", str(fake))
    with pytest.raises(AgentSetupError, match=r"dlfcn\.h: no such file"):
        built(target)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("machine x86_64\nbits 64\nlibc glibc\n", "linux-x86_64"),
        ("machine aarch64\nbits 64\nlibc glibc\n", "linux-arm64"),
        ("machine aarch64\nbits 32\nlibc glibc\n", "linux-arm"),
        ("machine armv7l\nbits 32\n", "linux-arm"),
        ("machine aarch64\nandroid arm64-v8a\n", "android-arm64"),
        ("machine aarch64\nandroid armeabi-v7a\n", "android-arm"),
        ("machine x86_64\nandroid x86_64\n", "android-x86_64"),
    ],
)
def test_targets(said: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = LocalTransport(LOCAL)
    monkeypatch.setattr(transport, "run", lambda *_, **__: Completed(0, said.encode(), b""))
    assert target_of(transport, "board").name == name


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("machine riscv64\nbits 64\nlibc glibc\n", "riscv64"),
        ("machine x86_64\nbits 64\nlibc musl\n", "musl"),
        ("machine aarch64\nandroid mips\n", "aarch64"),
        ("", "unknown"),
    ],
)
def test_machines_without_an_agent(said: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = LocalTransport(LOCAL)
    monkeypatch.setattr(transport, "run", lambda *_, **__: Completed(0, said.encode(), b""))
    with pytest.raises(AgentSetupError, match=why) as caught:
        target_of(transport, "board")
    assert "agent_binary" in str(caught.value)


def test_this_machine_is_what_its_shell_says() -> None:
    assert target_of(LocalTransport(LOCAL), "here") == this_machine()


def elf(machine: int) -> bytes:
    return b"\x7fELF\2\1\1" + bytes(9) + b"\3\0" + machine.to_bytes(2, "little") + b"rest"


def test_libraries_come_from_where_the_profile_says(tmp_path: Path) -> None:
    arm = TARGETS["linux-arm64"]
    wheel = tmp_path / "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ai_edge_litert/libLiteRt.so", elf(183))
        archive.writestr("ai_edge_litert-2.3.0.dist-info/METADATA", "")
    found = library_for(arm, str(wheel), "board")
    assert found.path and found.path.read_bytes() == elf(183) and found.version == "2.3.0"
    assert library_for(arm, str(wheel), "board") == found
    assert library_for(arm, "device:/opt/libLiteRt.so", "board").remote == "/opt/libLiteRt.so"
    package = tmp_path / "litert.aar"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("jni/armeabi-v7a/libLiteRt.so", elf(40))
    assert library_for(TARGETS["android-arm"], str(package), "phone").path
    with pytest.raises(AgentSetupError, match="holds no jni/arm64-v8a"):
        library_for(TARGETS["android-arm64"], str(package), "phone")
    with pytest.raises(AgentSetupError, match="is for arm64, and the device is linux-x86_64"):
        library_for(TARGETS["linux-x86_64"], str(wheel), "board")
    with pytest.raises(AgentSetupError, match="device:/PATH"):
        library_for(arm, "device:relative.so", "board")
    with pytest.raises(AgentSetupError, match="not a program or library"):
        library_for(
            arm,
            str(package.with_suffix(".so"))
            if package.with_suffix(".so").write_bytes(b"text" * 9)
            else "",
            "board",
        )
    for damaged in (b"", b"PK\3\4 not a zip", wheel.read_bytes()[:80]):
        (tmp_path / "bad.whl").write_bytes(damaged)
        with pytest.raises(AgentSetupError, match=r"cannot read runtime_library|holds no"):
            library_for(arm, str(tmp_path / "bad.whl"), "board")


def test_devices_of_another_machine_need_a_library() -> None:
    for target in TARGETS.values():
        if target != this_machine():
            with pytest.raises(AgentSetupError, match="set runtime_library"):
                library_for(target, None, "board")


def test_a_library_of_another_machine_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(elf(183 if platform.machine() == "x86_64" else 62))
    link = {"agent": "native", "runtime_library": str(tmp_path / "lib.so")}
    device = Device("here", DeviceKind.REAL, "local", link=link)
    with pytest.raises(AgentSetupError, match=r"runtime_library .* is for"):
        NativeAgent(device).prepare(LocalTransport(device))
