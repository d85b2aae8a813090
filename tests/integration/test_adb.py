"""The adb link against Debian's real adb server and an emulated Android, by both ways."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.domain import Device
from harness.emulation.android import AndroidTarget
from harness.errors import (
    AgentTimeoutError,
    AuthenticationError,
    DeviceFullError,
    LinkLostError,
    PullError,
    PushError,
    TransportError,
    UnreachableError,
)
from harness.transports import adb_devices, adb_direct, adb_keys
from harness.transports.adb import AdbTransport
from harness.transports.transport import MAX_OUTPUT, Upload
from tests.support.adb import HOSTILE, Adb, Opened, adb_device, start_adb, start_android


def running(link: AdbTransport, word: str) -> bool:
    """Whether the device runs a command with this word in it, apart from this question."""
    listed = link.run(["ps", "-ef"]).stdout.decode()
    return any(word in line for line in listed.splitlines())


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def test_commands(link: AdbTransport) -> None:
    done = link.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert link.run(["/nowhere/to/be/found"]).exit_code == 127
    assert link.run(["sh", "-c", "kill -9 $$"]).exit_code == 128 + 9
    data = os.urandom(700_001)
    assert link.run(["sha256sum"], stdin=data).stdout.split()[0].decode() == (
        hashlib.sha256(data).hexdigest()
    )
    assert link.run(["true"], stdin=data).exit_code == 0  # input that nobody reads
    assert link.run(["cat"]).stdout == b""  # no input has an end too
    assert link.run(["printf", r"%s\0", *HOSTILE]).stdout.split(b"\0")[:-1] == [
        name.encode() for name in HOSTILE
    ]
    assert link.run(["ls", "/data/local/tmp/pwned"]).exit_code != 0
    many = link.run(["head", "-c", str(MAX_OUTPUT + 99), "/dev/zero"])
    assert len(many.stdout) == MAX_OUTPUT
    with pytest.raises(ValueError, match="null"):
        link.run(["echo", "a\0b"])


def test_a_command_that_takes_too_long_is_ended(link: AdbTransport) -> None:
    with pytest.raises(AgentTimeoutError, match="sleep did not end within"):
        link.run(["sleep", "86409"], timeout=0.2)
    until(lambda: not running(link, "86409"))
    with pytest.raises(AgentTimeoutError):
        link.run(["yes"], timeout=0.5)  # endless output is cut too
    assert link.run(["echo", "still here"]).stdout == b"still here\n"


def test_a_process_with_streams(link: AdbTransport) -> None:
    process = link.start(["sh", "-c", "echo hello; read a; echo got $a; echo why >&2; exit 3"])
    assert process.read_line(10) == b"hello\n"
    with pytest.raises(AgentTimeoutError):
        process.read_line(0.05)
    assert process.wait(0.05) is None
    process.send(b"this\n")
    assert process.read_line(10) == b"got this\n"
    assert process.read_line(10) == b""
    assert process.wait(10) == 3 and process.stderr_tail() == "why\n"
    process.kill()
    assert process.read_line(1) == b""


def test_two_processes_at_a_time(link: AdbTransport) -> None:
    first, second = link.start(["cat"]), link.start(["cat"])
    for process, word in ((first, b"one\n"), (second, b"two\n")):
        process.send(word)
    assert second.read_line(10) == b"two\n" and first.read_line(10) == b"one\n"
    first.kill()
    second.send(b"still\n")
    assert second.read_line(10) == b"still\n"
    second.kill()


def test_what_is_killed_ends_on_the_device(link: AdbTransport) -> None:
    reads = link.start(["sh", "-c", "cat; sleep 0.1; : 86401"])
    sleeps = link.start(["sleep", "86402"])
    until(lambda: running(link, "86401") and running(link, "86402"))
    reads.kill()
    sleeps.kill()  # it does not read stdin: the hang-up ends it
    until(lambda: not running(link, "86401") and not running(link, "86402"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["end", "kill"])
def test_nothing_is_left_on_the_device_when_the_orchestrator_dies(
    how: str, way: Callable[..., Device], shared_phone: AndroidTarget, opened: Opened
) -> None:
    device = way(shared_phone)
    code = (
        "import sys, os, signal\n"
        "from harness.transports.adb import AdbTransport\n"
        "from tests.support.adb import adb_device\n"
        f"link = AdbTransport(adb_device(**{dict(device.link)!r}))\n"
        "link.open()\n"
        "process = link.start(['sh', '-c', 'echo up; exec sleep 86403'])\n"
        "print(process.read_line(20), flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert other.stdout and b"up" in other.stdout.readline()
    link = opened(device)
    assert running(link, "86403")
    if how == "kill":
        other.kill()
    other.communicate()
    until(lambda: not running(link, "86403"))


def test_files(link: AdbTransport, tmp_path: Path) -> None:
    content = {name: os.urandom(1 + 70_000 * index) for index, name in enumerate(HOSTILE)}
    folder = "/data/local/tmp/files"
    uploads = []
    for index, (name, data) in enumerate(content.items()):
        (tmp_path / str(index)).write_bytes(data)
        uploads.append(Upload(tmp_path / str(index), f"{folder}/{name}"))
    (tmp_path / "empty").touch()
    uploads.append(Upload(tmp_path / "empty", f"{folder}/empty"))
    seen: list[int] = []
    link.put(uploads, seen.append)
    assert sum(seen) == sum(map(len, content.values()))
    for name, data in content.items():
        assert link.run(["cat", f"{folder}/{name}"]).stdout == data
        assert link.get(f"{folder}/{name}", tmp_path / "back", limit=len(data)) == len(data)
        assert (tmp_path / "back").read_bytes() == data
    assert link.get(f"{folder}/empty", tmp_path / "back", limit=0) == 0
    link.put(uploads[:1], seen.append)  # what is there is replaced
    assert link.run(["ls", "/data/local/tmp/pwned"]).exit_code != 0
    link.run(["rm", "-r", folder])


def test_files_that_cannot_be_had(link: AdbTransport, tmp_path: Path) -> None:
    with pytest.raises(PullError, match=r"cannot read /nowhere: .*No such file"):
        link.get("/nowhere", tmp_path / "x", limit=10)
    (tmp_path / "x").write_bytes(bytes(3_000_000))
    link.put([Upload(tmp_path / "x", "/data/local/tmp/large")], lambda n: None)
    with pytest.raises(PullError, match="more than the 1,000 bytes"):
        link.get("/data/local/tmp/large", tmp_path / "x", limit=1000)
    with pytest.raises(PushError, match="cannot write /system/no"):
        link.put([Upload(tmp_path / "x", "/system/no")], lambda n: None)
    with pytest.raises(PushError, match="cannot read"):
        link.put([Upload(tmp_path / "none", "/data/local/tmp/x")], lambda n: None)
    with pytest.raises(PushError, match="too long"):
        link.put([Upload(tmp_path / "x", "/data/local/tmp/" + "x" * 1024)], lambda n: None)
    assert link.run(["echo", "fine"]).exit_code == 0


def test_a_full_device(
    way: Callable[..., Device], adb: Adb, opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(bytes(9_000_000))
    with start_android(adb.key, data_mb=4) as target:
        link = opened(way(target))
        with pytest.raises(DeviceFullError, match="no space left for x"):
            link.put([Upload(tmp_path / "x", "/data/local/tmp/x")], lambda n: None)
        assert link.run(["echo", "fine"]).exit_code == 0


@pytest.mark.slow
def test_64_megabytes_there_and_back(link: AdbTransport, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(64 << 20))
    link.put([Upload(tmp_path / "big", "/data/local/tmp/big")], lambda n: None)
    assert link.get("/data/local/tmp/big", tmp_path / "back", limit=64 << 20) == 64 << 20
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()
    link.run(["rm", "/data/local/tmp/big"])


def test_a_device_without_the_shell_protocol(link: AdbTransport) -> None:
    link._features = frozenset()  # as a device before Android 7 would have said
    done = link.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.exit_code, done.stdout) == (7, b"out\nerr\n")
    assert link.run(["cat"], stdin=b"\x1e\x1ehalf a mark\x1e").stdout == b"\x1e\x1ehalf a mark\x1e"
    assert link.run(["cat"]).stdout == b""
    process = link.start(["sh", "-c", "echo hello; echo noise >&2; read a; echo $a; exit 3"])
    assert process.read_line(10) == b"hello\n"
    process.send(b"this\n")
    assert (process.read_line(10), process.read_line(10)) == (b"this\n", b"")
    assert process.wait(10) == 3
    process.kill()


def test_a_device_that_wants_checksums(adb: Adb, opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(2_500_000))
    with start_android(adb.key, checksums=True) as target:
        link = opened(adb.directly(target))
        link.put([Upload(tmp_path / "x", "/data/local/tmp/x")], lambda n: None)
        assert link.get("/data/local/tmp/x", tmp_path / "y", limit=1 << 30) == 2_500_000
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.slow
def test_a_link_that_is_cut_in_the_middle_and_opened_again(
    way: Callable[..., Device], adb: Adb, opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(40 << 20))
    with start_android(adb.key) as target, start_android(adb.key) as bystander:
        other = opened(way(bystander))
        witness = other.start(["cat"])
        link = opened(way(target))
        cut = False

        def report(_count: int) -> None:
            nonlocal cut
            if not cut:
                cut = True
                target.cut()
                # What is in buffers goes on for a while, the link itself is gone.
                time.sleep(0.2)

        with pytest.raises(LinkLostError, match=r"bytes into big") as caught:
            link.put([Upload(tmp_path / "big", "/data/local/tmp/big")], report)
        assert caught.value.transient

        link.close()
        link.open()
        process = link.start(["sh", "-c", "echo up; cat; : 86404"])
        assert process.read_line(10) == b"up\n"
        threading.Timer(0.1, target.cut).start()
        with pytest.raises(LinkLostError):
            process.read_line(20)
        with pytest.raises(LinkLostError):
            for _ in range(100):
                process.send(b"anyone?\n")
                time.sleep(0.05)
        assert process.wait(0.1) is None
        process.kill()

        link.close()
        link.open()
        until(lambda: not running(link, "86404"))
        threading.Timer(0.1, target.cut).start()
        with pytest.raises(LinkLostError, match="cut"):
            link.run(["sleep", "60"])

        witness.send(b"untouched\n")
        assert witness.read_line(10) == b"untouched\n"
        witness.kill()


@pytest.mark.slow
def test_a_reboot_in_the_middle(way: Callable[..., Device], adb: Adb, opened: Opened) -> None:
    with start_android(adb.key, reboot_seconds=0.5) as target:
        link = opened(way(target))
        process = link.start(["cat"])
        with contextlib.suppress(LinkLostError):
            link.run(["reboot"])
        with pytest.raises(LinkLostError):
            process.read_line(20)
        process.kill()
        link.close()
        link.open()  # waits until it has booted
        assert link.run(["echo", "back"]).stdout == b"back\n"


@pytest.mark.slow
def test_a_device_that_is_gone_for_good(
    way: Callable[..., Device], adb: Adb, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (adb_devices, adb_direct):
        monkeypatch.setattr(module, "RETURN_TIMEOUT", 0.3)
    monkeypatch.setattr(adb_devices, "READY_TIMEOUT", 0.3)
    with start_android(adb.key) as target:
        link = AdbTransport(way(target))
        link.open()
        assert link.run(["true"]).exit_code == 0
        device = way(target)
    with pytest.raises(LinkLostError):
        link.run(["true"])
    for again in (link, AdbTransport(device)):
        again.close()
        with pytest.raises(UnreachableError) as caught:
            again.open()
        assert str(target.port) in caught.value.message and caught.value.transient
        again.close()


def test_a_key_that_the_device_does_not_know(
    way: Callable[..., Device], adb: Adb, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_direct, "ACCEPT_TIMEOUT", 0.3)
    with start_android(adb.key, authorized_keys=[]) as target:
        with pytest.raises(AuthenticationError, match="does not know this machine's adb key") as no:
            opened(way(target))
        assert "unlock the phone and accept" in str(no.value) and not no.value.transient


def test_a_key_that_somebody_accepts(adb: Adb, opened: Opened) -> None:
    def tap(_key: str) -> bool:
        time.sleep(0.2)
        return True

    with start_android(adb.key, authorized_keys=[], accept_new_keys=tap) as target:
        assert opened(adb.directly(target)).run(["true"]).exit_code == 0


def test_a_private_key_alone_opens_ones_own_emulated_phone(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ADB_VENDOR_KEYS", raising=False)
    own = tmp_path / ".android" / "adbkey"
    adb_keys.make_key(own)
    own.with_name("adbkey.pub").unlink()
    with start_android(own, authorized_keys=None) as target:
        device = adb_device(host="127.0.0.1", port=target.port)
        assert opened(device).run(["true"]).exit_code == 0


def test_keys_are_those_of_adb_and_private(
    adb: Adb, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ADB_VENDOR_KEYS", raising=False)
    made = tmp_path / ".android" / "adbkey"
    with start_android(made, accept_new_keys=False) as target:
        # Made by us where there was none; the device was told of it by its public half.
        device = adb_device(host="127.0.0.1", port=target.port)
        assert opened(device).run(["true"]).exit_code == 0
        assert made.stat().st_mode & 0o777 == 0o600
        shown = made.with_name("adbkey.pub").read_text()
        assert re.fullmatch(r"[A-Za-z0-9+/]{700}== ?\S+@\S+|[A-Za-z0-9+/=]{700} \S+@\S+", shown)
        # adb reads the same key, and says the same of it.
        assert adb("pubkey", str(made)).split()[0] == shown.split()[0]

        made.chmod(0o644)
        with pytest.raises(AuthenticationError, match="can be read by others") as caught:
            AdbTransport(device).open()
        assert caught.value.hint == f"make it private: chmod 600 {made}"
        made.write_text("no key at all")
        made.chmod(0o600)
        with pytest.raises(AuthenticationError, match="is none"):
            AdbTransport(device).open()

    # adb's key, made by adb, as a vendor's key: the user's own is unknown to this device.
    made.unlink()
    adb("keygen", str(tmp_path / "lab.adb_key"))
    monkeypatch.setenv("ADB_VENDOR_KEYS", f"{tmp_path}{os.pathsep}{tmp_path / 'none'}")
    with start_android(tmp_path / "lab.adb_key") as target:
        device = adb_device(host="127.0.0.1", port=target.port)
        assert opened(device).run(["true"]).exit_code == 0
    assert [key.path.name for key in adb_keys.load_keys()] == ["adbkey", "lab.adb_key"]


def test_several_devices(opened: Opened, tmp_path: Path) -> None:
    with start_adb(tmp_path / "home") as adb:
        alone = adb_device(adb_server=adb.address)
        with pytest.raises(UnreachableError, match=r"has no device; it has: none"):
            opened(alone)
        with start_android(adb.key) as first, start_android(adb.key) as second:
            adb("connect", first.serial)
            assert opened(alone).run(["true"]).exit_code == 0
            assert AdbTransport(alone).address == f"adb:{first.serial}"
            assert AdbTransport(alone).runs_on_host
            links = [opened(adb.by_server(target)) for target in (first, second)]
            for number, one in enumerate(links):
                one.run(["sh", "-c", f"echo {number} >/data/local/tmp/number"])
            for number, target in enumerate((first, second)):
                assert (target.data / "local/tmp/number").read_text() == f"{number}\n"
            with pytest.raises(TransportError, match="has several devices") as caught:
                opened(alone)
            assert first.serial in caught.value.message and second.serial in caught.value.message
            assert not caught.value.transient
            with pytest.raises(UnreachableError, match=r"no device PHONE1; it has: 127") as missing:
                opened(adb_device(adb_server=adb.address, serial="PHONE1"))
            assert first.serial in missing.value.message
            found = adb.devices()
            assert found[first.serial].ready and found[first.serial].model == "Emulated Phone"
            assert found[first.serial].product == "emulated"


def test_an_offline_device_is_mended_and_no_other_touched(adb: Adb, opened: Opened) -> None:
    with start_android(adb.key) as target, start_android(adb.key) as bystander:
        witness = opened(adb.by_server(bystander)).start(["cat"])
        link = opened(adb.by_server(target))
        target.cut()
        until(lambda: not adb.devices()[target.serial].ready)
        with pytest.raises(LinkLostError, match=r"offline|cut"):
            link.run(["true"])
        link.close()
        link.open()
        assert link.run(["echo", "back"]).stdout == b"back\n"
        witness.send(b"untouched\n")
        assert witness.read_line(10) == b"untouched\n"
        witness.kill()
    assert adb.process.poll() is None  # the server itself is never ended
