"""Emulated targets without starting one: what is refused, what is pinned, what is found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cache import whole_file
from harness.cli.shared import emulating
from harness.config.devices import device_files
from harness.emulation import EMULATORS
from harness.emulation.linux_arm64 import binfmt, cpu, packages, root, states
from harness.errors import HarnessError, MissingToolError, UsageError
from tests.conftest import ROOT

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_wheels_are_those_that_the_project_itself_pins() -> None:
    pinned = (ROOT / "requirements" / "demo.txt").read_text()
    lines = packages.WHEELS.read_text()
    names = re.findall(r"^[\w-]+==[\w.]+", lines, re.MULTILINE)
    hashes = re.findall(r"--hash=\S+", lines)
    assert len(names) == len(hashes) == 2
    for name, digest in zip(names, hashes, strict=True):
        assert name in pinned, "bring wheels.txt up to what `make lock` has found"
        at = pinned.index(name)
        assert pinned.index(digest, at) < pinned.index("==", at + len(name))


def test_cpuinfo_has_a_block_per_core() -> None:
    text = cpu.cpuinfo("cortex-a76", 3)
    assert re.findall(r"^processor\t: (\d)$", text, re.MULTILINE) == ["0", "1", "2"]
    assert text.count("CPU part\t: 0xd0b\n") == 3 and "asimddp" in text
    assert cpu.check("") == "cortex-a76"


def test_a_qemu_that_needs_libraries_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(os.path.realpath(sys.executable), tmp_path / "qemu-aarch64-static")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("qemu-aarch64-static") and binfmt.find_qemu() is None


def test_what_is_missing_is_said_with_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="qemu-user-static") as caught:
        root.ensure_root(lambda text: None)
    assert "apt install" in (caught.value.hint or "")


def test_roots_are_told_apart_by_what_they_are_made_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_EMULATION_ROOTS", str(tmp_path / "roots"))
    before = root.find_root()
    monkeypatch.setattr(packages, "INCLUDED", (*packages.INCLUDED, "gcc"))
    assert before.parent == tmp_path / "roots" != root.find_root()
    assert before != root.find_root()


def test_folders_of_dead_targets_are_removed(tmp_path: Path) -> None:
    folder, lock = states.new(tmp_path)
    (folder / "file").write_text("x")
    second, other = states.new(tmp_path)
    os.close(other)
    assert (folder / "file").exists()
    os.close(lock)
    third, lock = states.new(tmp_path)
    os.close(lock)
    assert not folder.exists() and not second.exists() and third.exists()


@pytest.mark.parametrize("name", EMULATORS)
def test_options_that_a_target_does_not_have(name: str) -> None:
    with pytest.raises(UsageError, match="--nonsense is not an option"):
        EMULATORS[name].make({"nonsense": 1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["linux-arm"], "did you mean 'linux-arm64'?"),
        (["linux-arm64", "--cpu", "cortex-a67"], "did you mean 'cortex-a76'?"),
        (["linux-arm64", "--name", "../x"], "is not a device's name"),
        (["android", "--cpu", "max"], "--cpu is not an option of this target"),
        (["linux-arm64", "--profile", "mine.toml"], "harness emulate has not written it"),
        (["android", "--profile", "."], ". is a folder"),
        (["android", "--name", "local"], "there is a device local already"),
        (["android", "--prepare"], "nothing of android is made once and kept"),
        (["linux-arm64", "--prepare", "--", "true"], "--prepare starts nothing"),
        (["linux-arm64", "--prepare", "--save"], "--prepare starts nothing"),
    ],
)
def test_what_cannot_be_emulated(cli: Cli, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "mine.toml").write_text("transport = 'ssh'\n")
    done = cli("emulate", *arguments)
    assert done.returncode == 2 and said in done.stderr and done.stdout == ""
    assert (tmp_path / "mine.toml").read_text() == "transport = 'ssh'\n"


def test_profiles_of_a_folder_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "config" / "edge-harness" / "devices"
    own.mkdir(parents=True)
    (tmp_path / "more").mkdir()
    for folder in (own, tmp_path / "more"):
        (folder / "board.toml").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert device_files()["board"] == own / "board.toml"
    monkeypatch.setenv("HARNESS_DEVICES", str(tmp_path / "more"))
    assert device_files()["board"] == tmp_path / "more" / "board.toml"
    assert "pixel-3" in device_files()


def test_a_profile_is_its_targets_for_as_long_as_that_is_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    saved = tmp_path / "edge-harness" / "devices" / "board.toml"
    saved.parent.mkdir(parents=True)
    saved.write_text(emulating._marked("port = 1\n"))
    emulating.check_name("board")
    with pytest.raises(UsageError, match=f"process {os.getpid()} of harness emulate"):
        emulating.places("board", save=True, profile=None)
    # As after a kill: the number is another process's, or nobody's.
    for line in (
        f"# Process {os.getpid()}, begun at tick 1.",
        "# Process 4194304, begun at tick 1.",
    ):
        saved.write_text(f"{emulating.MARK}\n{line}\nport = 1\n")
        assert emulating.places("board", save=True, profile=None) == [saved]


def test_only_a_full_disk_is_told_to_free_some_space(tmp_path: Path) -> None:
    for target in (tmp_path, Path("/proc/x.toml")):
        with pytest.raises(HarnessError, match="cannot write") as caught, whole_file(target):
            pass
        assert caught.value.hint is None
    with pytest.raises(HarnessError, match="No space") as caught, whole_file(tmp_path / "file"):
        Path("/dev/full").write_text("x")
    assert "free some space" in (caught.value.hint or "")
