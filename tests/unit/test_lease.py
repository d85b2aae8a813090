"""The host's side of the lease, against the real script on a device that is this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.devices import lease
from harness.devices.lease import DeviceLease
from harness.devices.lock import DeviceLock, HostLock
from harness.domain import Device, DeviceKind
from harness.errors import (
    AgentSetupError,
    DeviceBusyError,
    HarnessError,
    LeaseLostError,
    LinkLostError,
    ProtocolError,
)
from harness.transports.local import LocalProcess, LocalTransport


class Elsewhere(LocalTransport):
    """This machine as a device that others may reach; ``says`` replaces its script."""

    says = ""

    @property
    def address(self) -> str:
        return "elsewhere"

    def start(self, argv: Sequence[str]) -> LocalProcess:
        return super().start(["sh", "-c", self.says, *argv[3:]] if self.says else argv)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device("board", DeviceKind.REAL, "local", link={"lease_dir": str(tmp_path)})


@pytest.fixture
def made(device: Device) -> Iterator[Any]:
    """Makes leases of one device and lets go of all of them."""
    all_: list[DeviceLease] = []

    def make(owner: str, says: str = "", **more: Any) -> DeviceLease:
        transport = Elsewhere(device)
        transport.says = says
        all_.append(DeviceLease(transport, device, owner, **more))
        return all_[-1]

    yield make
    for item in all_:
        item.drop()


def test_one_holder_at_a_time_and_numbers_that_rise(made: Any) -> None:
    first, second = made("the first one"), made("the second one")
    first.acquire()
    assert first.fence is not None and first.fence.token == 1
    with pytest.raises(DeviceBusyError, match=rf"process {os.getpid()}\), the first one for \d+ s"):
        second.acquire()
    first.verify()
    first.release()
    second.acquire()
    assert second.fence.token == 2 and second.took_over == ""
    second.verify()


def test_waiting_ends_when_the_device_is_free(made: Any) -> None:
    first, second = made("the first one"), made("the second one")
    first.acquire()
    seen: list[str] = []

    def busy(error: DeviceBusyError) -> None:
        seen.append(error.message)
        first.release()

    second.acquire(busy)
    assert len(seen) == 1 and "the first one" in seen[0]
    second.verify()


def test_the_same_session_goes_on_over_a_new_link(made: Any) -> None:
    session = made("it")
    session.acquire()
    session.acquire()
    assert session.fence.token == 2 and session.took_over == ""
    session.verify()


def test_a_late_session_is_told_and_may_begin_anew(made: Any, tmp_path: Path) -> None:
    late, new = made("the late one"), made("the new one")
    late.acquire()
    beat = tmp_path / "edge-harness-lease" / "1" / "beat"
    beat.write_text("1 1\n")  # not heard of since the device was started
    new.acquire()
    assert "the late one" in new.took_over and "nothing had been heard" in new.took_over
    with pytest.raises(LeaseLostError, match=r"lost the device to .*the new one") as caught:
        late.verify()
    assert caught.value.transient
    with pytest.raises(LinkLostError):
        late.verify()  # it has let go
    with pytest.raises(DeviceBusyError, match="the new one"):
        late.acquire()
    new.release()
    late.acquire()
    late.verify()


def test_a_sign_of_life_that_comes_late_is_told_later(made: Any, tmp_path: Path) -> None:
    late, new = made("the late one"), made("the new one")
    late.acquire()
    (tmp_path / "edge-harness-lease" / "1" / "beat").write_text("1 1\n")
    new.acquire()
    late.beat()
    late._process.wait(20)  # told so, its process has ended
    with pytest.raises(LeaseLostError, match="the new one"):
        late.verify()


def test_a_killed_script_is_a_cut_link(made: Any) -> None:
    session = made("it")
    session.acquire()
    session._process._child.kill()
    with pytest.raises(LinkLostError):
        session.verify()
    session.beat()
    session.hold(10)  # neither raises
    session.acquire()
    session.verify()


@pytest.mark.parametrize(
    ("says", "error", "match"),
    [
        ("echo Welcome; exit 127", AgentSetupError, "no shell"),
        ("exit 0", LinkLostError, "has ended"),
        ("kill -9 $$", LinkLostError, "has ended"),
        ('echo "$1 problem /x is \033[31mfull"', AgentSetupError, "is \ufffd\\[31mfull"),
        ('echo "$1 held 99999999999999 abcdef12 /tmp"', ProtocolError, "for a lease"),
        ('echo "$1 held 5 abcdef12 relative"', ProtocolError, "for a lease"),
        ('echo "$1 what"', ProtocolError, "for a lease"),
        ("while :; do echo noise; done", ProtocolError, "no answer"),
        ('printf "$1 busy 99999999999999999999 "; head -c 9000 /dev/zero | tr "\\0" x; echo',
         DeviceBusyError, "for some time"),
    ],
)  # fmt: skip
def test_a_hostile_device_gets_an_error_of_bounded_length(
    made: Any, monkeypatch: pytest.MonkeyPatch, says: str, error: type[HarnessError], match: str
) -> None:
    monkeypatch.setattr(lease, "_ANSWER", 5.0)
    with pytest.raises(error, match=match) as caught:
        made("it", says).acquire()
    text = str(caught.value)
    assert len(text) < 1500 and "\033" not in text


def test_a_login_script_may_print_before(made: Any) -> None:
    session = made("it", says='echo Welcome to board; echo; echo "$1 held 3 abcdef12 /tmp/x"; cat')
    session.acquire()
    assert session.fence.token == 3


def test_what_only_we_can_reach_needs_no_lease(tmp_path: Path) -> None:
    device = Device("here", DeviceKind.REAL, "local", link={"lease_dir": str(tmp_path)})
    own = DeviceLease(LocalTransport(device), device, "it")
    own.acquire()
    own.verify()
    own.beat()
    own.release()
    assert own.fence is None and own.command(["a", "b"]) == ["a", "b"]
    assert not list(tmp_path.iterdir())


def test_locks_of_a_machine_are_shared_but_nobodys_links_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_LOCKS", str(tmp_path / "locks"))
    for cache in ("one", "other"):
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / cache))
        lock = DeviceLock("address", "board", f"user {cache}")
        if cache == "one":
            first = lock
            first.acquire()
    with pytest.raises(DeviceBusyError, match=rf"user one \(process {os.getpid()} of \S+\) since"):
        lock.acquire()
    first.release()
    lock.acquire()
    lock.release()
    (made,) = (tmp_path / "locks").iterdir()
    assert (tmp_path / "locks").stat().st_mode & 0o7777 == 0o1777
    assert made.stat().st_mode & 0o777 == 0o666
    precious = tmp_path / "precious"
    precious.write_text("kept")
    made.unlink()
    made.symlink_to(precious)
    with pytest.raises(HarnessError, match="cannot use the lock"):
        lock.acquire()
    made.unlink()
    made.hardlink_to(precious)
    with pytest.raises(HarnessError, match="no file of its own"):
        lock.acquire()
    assert precious.read_text() == "kept"
    made.unlink()
    os.mkfifo(made)
    with pytest.raises(HarnessError, match="no file of its own"):
        lock.acquire()
    made.unlink()
    made.write_text('{"owner": "\\u001b[31m' + "x" * 5000)
    held = DeviceLock("address", "board", "a")
    held.acquire()
    made.write_text("[" * 900)
    with pytest.raises(DeviceBusyError, match="in use by another process"):
        lock.acquire()
    held.release()


def test_a_quiet_host_for_all_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LOCKS", str(tmp_path / "locks"))
    measuring, computing = HostLock("a", exclusive=True), HostLock("b", exclusive=False)
    measuring.acquire()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "of-another-user"))
    with pytest.raises(DeviceBusyError, match=rf"for a \(process {os.getpid()} of \S+\) since 2"):
        computing.acquire()
    measuring.release()
    computing.acquire()
    too = HostLock("c", exclusive=False)
    too.acquire()
    with pytest.raises(DeviceBusyError, match="for c "):
        measuring.acquire()
    too.release()
    with pytest.raises(DeviceBusyError, match="for b "):
        measuring.acquire()
    computing.release()
    monkeypatch.setenv("HARNESS_LOCKS", str(tmp_path / "a-file"))
    (tmp_path / "a-file").touch()
    with pytest.raises(HarnessError, match="HARNESS_LOCKS"):
        measuring.acquire()
