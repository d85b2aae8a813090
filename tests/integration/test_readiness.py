"""A device's state, and bringing it into the one that the Policy asks for."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.devices.readiness import Readiness
from harness.devices.state import read_state
from harness.domain import Policy
from harness.emulation.android import Phone
from harness.store import Store
from harness.transports.adb import AdbTransport
from harness.transports.scripts import script
from tests.support.adb import Adb, start_android
from tests.support.boards import PHONE, Board, until
from tests.support.sshd import Sshd

GOVERNOR = "devices/system/cpu/cpu0/cpufreq/scaling_governor"


@pytest.fixture
def phone(tmp_path: Path) -> Board:
    return Board(tmp_path / "sys")


def never() -> bool:
    return False


def pause(seconds: float, why: str) -> None:
    assert why
    time.sleep(min(seconds, 0.05))


def test_a_phones_state(phone: Board) -> None:
    state = read_state(phone)
    assert [item.number for item in state.processors] == list(range(8))
    assert state.cores("big") == [6, 7] and state.cores("little") == [0, 1, 2, 3, 4, 5]
    assert state.cores("0,6-7") == [0, 6, 7] and state.cores("6-9") == []
    assert state.governor == "schedutil" and state.processors[7].max_khz == 2_803_200
    assert state.temperature_c == 48.5  # the processor's, not the hotter battery's
    assert (state.battery_percent, state.battery_status, state.battery_c) == (
        81, "Discharging", 28.7
    )  # fmt: skip
    assert state.powered is False and state.busy is None and state.disk_free_bytes is None


def test_the_whole_state_of_this_machine(tmp_path: Path) -> None:
    odd = tmp_path / "it's a 'folder' $(touch oops)\nand more"
    odd.mkdir()
    state = read_state(Board(tmp_path / "sys", {}), str(odd / "not" / "there"))
    assert state.disk_free_bytes is not None and state.disk_free_bytes > 1_000_000
    assert state.clock is not None and abs(state.clock - time.time()) < 60
    assert state.busy is not None and 0 <= state.busy <= 1
    assert state.facts["disk.writable"] == "1" and not list(tmp_path.rglob("oops"))
    assert state.battery_percent is None and state.temperature_c is None


def test_the_governor_is_set_for_the_session_and_restored(phone: Board) -> None:
    phone.set("devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave")
    readiness = Readiness(phone, Policy(governor="performance"))
    readiness.open()
    found = readiness.wait(pause, never)
    assert found.state is not None and found.state.governor == "performance"
    assert found.missed == ()
    readiness.close()
    assert phone.read(GOVERNOR) == "schedutil"
    assert phone.read("devices/system/cpu/cpu3/cpufreq/scaling_governor") == "powersave"


def test_a_governor_that_an_older_link_restores_is_set_anew(phone: Board) -> None:
    """The device notices a cut late: after the next link has found the governor as it wants it."""
    older = phone.start(["sh", "-c", script("governor.sh"), "governor", "performance"])
    assert older.read_line(10) == b"set 8\n"
    readiness = Readiness(phone, Policy(governor="performance"))
    readiness.open()
    older.send(b"restore\n")
    assert until(lambda: phone.read(GOVERNOR) == "schedutil")
    found = readiness.wait(pause, never)
    assert found.state is not None and found.state.governor == "performance"
    assert found.missed == () and phone.read(GOVERNOR) == "performance"
    readiness.close()
    assert phone.read(GOVERNOR) == "schedutil"
    older.kill()


def test_a_governor_that_cannot_be_set_anew_is_said(phone: Board) -> None:
    readiness = Readiness(phone, Policy(governor="performance"))
    readiness.open()
    phone.set(GOVERNOR, "schedutil")
    second = phone.folder / GOVERNOR.replace("cpu0", "cpu1")
    second.unlink()
    second.mkdir()  # as for no root
    found = readiness.wait(pause, never)
    readiness.close()
    assert [about for about, _ in found.missed] == ["governor"]
    assert "may not set it on 1" in found.missed[0][1]


def test_the_governor_comes_back_when_the_host_dies(phone: Board) -> None:
    process = phone.start(["sh", "-c", script("governor.sh"), "governor", "performance"])
    assert process.read_line(10) == b"set 8\n" and phone.read(GOVERNOR) == "performance"
    assert process._child.stdin is not None
    process._child.stdin.close()
    assert until(lambda: phone.read(GOVERNOR) == "schedutil")
    process.kill()


ALIKE = {f"devices/system/cpu/cpu{n}/online": "1" for n in range(4)}


@pytest.mark.parametrize(
    ("files", "policy", "said"),
    [
        (PHONE, Policy(governor="interactive"), "there is only performance schedutil powersave"),
        ({}, Policy(governor="performance"), "this device has none to set"),
        (ALIKE, Policy(cores="little"), "no such processors"),
        (PHONE, Policy(cores="6-8"), "no such processors"),
        (PHONE, Policy(max_temperature_c=40, ready_timeout=0.2), "at 48.5 °C, above 40 °C"),
        (PHONE, Policy(min_battery_percent=90), "battery at 81 % and not charging"),
        ({}, Policy(max_temperature_c=40), "tells no temperature"),
    ],
)
def test_what_could_not_be_done_is_said(
    tmp_path: Path, files: dict[str, str], policy: Policy, said: str
) -> None:
    readiness = Readiness(Board(tmp_path / "sys", files), policy)
    readiness.open()
    found = readiness.wait(pause, never)
    readiness.close()
    assert len(found.missed) == 1 and said in found.missed[0][1]


def test_a_governor_that_may_not_be_set(phone: Board) -> None:
    for n in range(8):
        (phone.folder / f"devices/system/cpu/cpu{n}/cpufreq/scaling_governor").chmod(0o400)
    (phone.folder / "devices/system/cpu/cpu0/cpufreq/scaling_governor").unlink()
    (phone.folder / "devices/system/cpu/cpu0/cpufreq/scaling_governor").mkdir()  # as for no root
    readiness = Readiness(phone, Policy(governor="performance"))
    readiness.open()
    found = readiness.wait(pause, never)
    readiness.close()
    assert found.missed[0][0] == "governor" and "may not set it" in found.missed[0][1]


def test_waits_until_it_is_cool(phone: Board) -> None:
    threading.Timer(0.3, lambda: phone.set("class/thermal/thermal_zone1/temp", "39000")).start()
    readiness = Readiness(phone, Policy(max_temperature_c=40, cores="big"))
    found = readiness.wait(pause, never)
    assert found.missed == () and found.waited >= 0.2 and found.cores == (6, 7)
    assert found.as_facts()["readiness"]["before"]["temperature_c"] == 39.0


def test_a_policy_that_asks_for_nothing_looks_once(tmp_path: Path) -> None:
    looks: list[int] = []

    class Counting(Board):
        def run(self, *args: object, **more: object):  # type: ignore[no-untyped-def]
            looks.append(1)
            return super().run(*args, **more)  # type: ignore[arg-type]

    readiness = Readiness(Counting(tmp_path / "sys", {}), Policy())
    for _ in range(3):
        assert readiness.wait(pause, never).missed == ()
    assert len(looks) == 1


def test_a_run_records_readiness_and_says_what_was_missed(
    sshd: Sshd,
    suite_file: Callable[..., Path],
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    suite = suite_file(
        devices=["board"], device=sshd.device("board"), trials=2,
        policy='governor = "warp"\ncores = "0"\n',
    )  # fmt: skip
    done = cli("run", str(suite))
    assert done.returncode == 0, done.stderr
    assert "governor warp: this device has none to set" in " ".join(done.stdout.split())
    with Store(f"sqlite:///{suite.parent}/results/harness.db") as store:
        (job,) = store.jobs(store.find_run("last").id)
        trials = [trial for trial in store.trials(job.id) if trial.purpose == "latency"]
    for trial in trials:
        assert trial.facts["cores"] == [0]
        assert "temperature_c" in trial.facts["readiness"]["before"]


def test_a_phone_whose_services_alone_tell(adb: Adb) -> None:
    phone = Phone(sys_class_closed=True, cpu_temperature=38, remembered_cpu_temperature=71)
    with start_android(adb.key, phone=phone) as target:
        link = AdbTransport(adb.directly(target))
        link.open()
        state = read_state(link)
        assert state.temperature_c == 38  # what the HAL says now, not what was hotter once
        assert (state.battery_percent, state.battery_c, state.powered) == (85, 29.5, False)
        target.set(ac_powered=True, thermal_status=2, thermal_hal=False)
        state = read_state(link)
        assert (state.powered, state.temperature_c, state.thermal_status) == (True, 71, 2)
        assert state.as_dict()["thermal_status"] == 2
        link.close()


def test_a_device_is_looked_at_after_a_trial_too(adb: Adb) -> None:
    with start_android(adb.key) as target:
        link = AdbTransport(adb.directly(target))
        link.open()
        found = Readiness(link, Policy()).wait(pause, never)
        target.set(thermal_status=2)
        facts = found.as_facts()["readiness"]
        assert (facts["before"]["thermal_status"], facts["after"]["thermal_status"]) == (0, 2)
        link.close()
        assert found.as_facts()["readiness"]["after"] is None


@pytest.mark.slow
def test_a_run_on_a_phone_that_is_throttled_says_so(
    adb: Adb,
    suite_file: Callable[..., Path],
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    with start_android(adb.key, phone=Phone(thermal_status=1)) as target:
        table = (  # said to be real: of an emulated device no latency is shown, nor what is of it
            f'\n[device.phone]\ntransport = "adb"\nkind = "real"\nhost = "127.0.0.1"\n'
            f'port = {target.port}\nadb_key = "{adb.key}"\n'
        )
        done = cli("run", str(suite_file(devices=["phone"], device=table, trials=2)))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert " throttled: " in said
    assert "Android's thermal status was 1, before or after 2 of 2 trials" in said
