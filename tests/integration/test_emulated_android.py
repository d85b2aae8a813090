"""The emulated Android against Debian's adb, and against clients that mean it ill."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import adb_protocol as wire
from harness.emulation.android import AndroidTarget, Phone
from harness.errors import HarnessError, UsageError
from tests.support import harness_command, needed
from tests.support.android import Adb, Raw, adb_server, started, wait_until

TMP = "/data/local/tmp"


@pytest.fixture(scope="module")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    with adb_server(tmp_path_factory.mktemp("adb") / "home") as adb:
        yield adb


@pytest.fixture(scope="module")
def phone(adb: Adb) -> Iterator[AndroidTarget]:
    with started(authorized_keys=[adb.public_key]) as target:
        adb.connect(target)
        yield target
        assert target.log == ""


# -- what adb does -----------------------------------------------------------------------


def test_two_devices_at_once_are_listed_and_told_apart(adb: Adb, phone: AndroidTarget) -> None:
    other = Phone(model="Other Phone", device="other", serial="OTHER", release="12", sdk=31)
    with started(authorized_keys=[adb.public_key], phone=other) as second:
        adb.connect(second)
        listed = adb("devices", "-l").stdout.decode()
        for target, model in ((phone, "Emulated_Phone"), (second, "Other_Phone")):
            assert re.search(rf"{target.serial} +device .*model:{model} ", listed), listed
        assert adb.shell(phone, "getprop ro.build.version.sdk") == "34\n"
        assert adb.shell(second, "getprop ro.build.version.sdk") == "31\n"
        adb("disconnect", second.serial)


def test_a_shell_has_exit_codes_and_three_streams(adb: Adb, phone: AndroidTarget) -> None:
    run = ("-s", phone.serial, "shell")
    done = adb(*run, "echo out; echo err >&2; exit 7", ok=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert adb(*run, "kill -9 $$", ok=False).returncode == 128 + 9
    data = os.urandom(300_000)
    assert adb(*run, "cat", stdin=data).stdout == data
    assert adb("-s", phone.serial, "exec-out", "echo a; printf '\\0\\r\\n'").stdout == b"a\n\0\r\n"
    # Nobody reads what is sent: no hang.
    adb(*run, "true", stdin=data * 4)
    seen = adb(*run[:2], "shell", "-tt", "tty; stty -echo; read x; echo got $x", stdin=b"word\n")
    assert b"/dev/pts/0" in seen.stdout and b"got word" in seen.stdout


def test_64_megabytes_come_and_go_as_they_are(
    adb: Adb, phone: AndroidTarget, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(1 << 20) * 64)
    adb("-s", phone.serial, "push", big, f"{TMP}/big")
    assert (phone.data / "local/tmp/big").read_bytes() == big.read_bytes()
    adb("-s", phone.serial, "pull", f"{TMP}/big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    adb.shell(phone, f"rm {TMP}/big")


def test_a_folder_with_odd_names_is_pushed_listed_and_pulled(
    adb: Adb, phone: AndroidTarget, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    names = ["-rf", "a b", "$(reboot)", "é\n'\"", "deep/er/empty"]
    for name in names:
        (folder / name).write_text("" if name.endswith("empty") else name)
    (folder / "link").symlink_to("a b")
    os.utime(folder / "a b", (1_000_000_000, 1_000_000_000))
    (folder / "a b").chmod(0o750)
    adb("-s", phone.serial, "push", "--sync", folder, TMP)
    there = phone.data / "local/tmp/folder"
    assert {str(path.relative_to(there)) for path in there.rglob("*") if not path.is_dir()} == {
        *names, "link",
    }  # fmt: skip
    assert (there / "link").readlink() == Path("a b")
    # The user's rights are everybody's, as adbd has it.
    assert (there / "a b").stat().st_mode & 0o777 == 0o777
    assert (there / "a b").stat().st_mtime == 1_000_000_000
    listed = adb("-s", phone.serial, "ls", f"{TMP}/folder").stdout.decode()
    assert re.search(r"^000081ff 00000003 3b9aca00 a b$", listed, re.M), listed
    adb("-s", phone.serial, "pull", f"{TMP}/folder", tmp_path / "back")
    for name in names:
        assert (tmp_path / "back" / name).read_text() == (folder / name).read_text()
    assert (
        b"1 file pushed" not in adb("-s", phone.serial, "push", "--sync", folder, TMP).stdout
    )  # nothing has changed


def test_failures_of_files_are_told(adb: Adb, phone: AndroidTarget, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    push = adb("-s", phone.serial, "push", tmp_path / "file", "/system/new", ok=False)
    assert push.returncode and b"Read-only file system" in push.stdout + push.stderr
    pull = adb("-s", phone.serial, "pull", "/nothing", tmp_path, ok=False)
    assert pull.returncode and b"No such file" in pull.stdout + pull.stderr
    with started(authenticate=False, data_mb=2) as small:
        adb.connect(small)
        full = adb("-s", small.serial, "push", tmp_path / "file", f"{TMP}/file", ok=False)
        assert full.returncode and b"No space left" in full.stdout + full.stderr
        assert adb.shell(small, f"ls {TMP}") == ""
        adb("disconnect", small.serial)


@pytest.mark.slow
def test_the_old_version_with_checksums_works(adb: Adb, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(2_000_000))
    with started(authorized_keys=[adb.public_key], checksums=True) as old:
        adb.connect(old)
        adb("-s", old.serial, "push", tmp_path / "file", TMP)
        back = adb("-s", old.serial, "exec-out", f"cat {TMP}/file").stdout
        assert back == (tmp_path / "file").read_bytes()
        adb("disconnect", old.serial)


def test_refusals_of_a_phone_without_root(adb: Adb, phone: AndroidTarget) -> None:
    for service, said in (("root", "cannot run as root"), ("tcpip", "keeps its port")):
        more = ["5555"] if service == "tcpip" else []
        assert said in adb("-s", phone.serial, service, *more, ok=False).stdout.decode()
    assert adb.state(phone) == "device"


@pytest.mark.slow
def test_a_reboot_ends_everything_and_comes_back(adb: Adb) -> None:
    with started(authorized_keys=[adb.public_key], reboot_seconds=0.2) as target:
        for way in (("reboot",), ("shell", "reboot")):
            adb.connect(target)
            adb.shell(target, f"sleep 1000 >/dev/null 2>&1 & echo kept >{TMP}/file")
            assert "sleep" in adb.shell(target, "ps -e")
            adb("-s", target.serial, *way, ok=False)
            wait_until(lambda: adb.state(target) != "device")
            adb("disconnect", target.serial)
            adb.connect(target)
            assert "sleep" not in adb.shell(target, "ps -e")
            assert adb.shell(target, f"cat {TMP}/file") == "kept\n"
            adb("disconnect", target.serial)


@pytest.mark.slow
def test_a_cut_link_is_a_lost_device(adb: Adb) -> None:
    with started(authorized_keys=[adb.public_key]) as target:
        adb.connect(target)
        running = subprocess.Popen(
            ["adb", "-s", target.serial, "shell", "echo up; sleep 1000"], env=adb.env,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert running.stdout is not None and running.stdout.readline() == b"up\n"
        target.cut()
        running.wait(20)  # with exit code 0: this adb does not tell a cut from an end
        running.stdout.close()
        adb("disconnect", target.serial)
        adb.connect(target)
        wait_until(lambda: "sleep" not in adb.shell(target, "ps -e"))
        adb("disconnect", target.serial)


# -- keys --------------------------------------------------------------------------------


def test_an_unknown_key_waits_for_the_tap(adb: Adb) -> None:
    tapped, asked = threading.Event(), threading.Event()

    def user(key: str) -> bool:
        asked.set()
        return tapped.wait(20)

    with started(authorized_keys=[], accept_new_keys=user) as target:
        adb("connect", target.serial, ok=False)
        assert asked.wait(20)
        wait_until(lambda: adb.state(target) == "unauthorized")
        assert b"unauthorized" in adb("-s", target.serial, "shell", "id", ok=False).stderr
        tapped.set()
        wait_until(lambda: adb.state(target) == "device")
        # From now on it is known.
        tapped.clear()
        adb("disconnect", target.serial)
        adb.connect(target)
        adb("disconnect", target.serial)


@pytest.mark.slow
def test_a_key_that_nobody_accepts_stays_out(adb: Adb, tmp_path: Path) -> None:
    (tmp_path / "other.pub").write_text("QUJD somebody@else\nno key at all\n")
    with started(authorized_keys=[tmp_path / "other.pub"]) as target:
        adb("connect", target.serial, ok=False)
        wait_until(lambda: adb.state(target) == "unauthorized")
        with Raw(target) as client:
            # Nothing is opened for who has not been let in.
            client.send(wire.CNXN, wire.VERSION, 1 << 20, b"host::\0")
            assert client.receive()[:2] == (wire.AUTH, wire.TOKEN)
            client.send(wire.OPEN, 1, 0, b"shell:id\0")
            client.send(wire.AUTH, wire.SIGNATURE, 0, b"x" * 256)
            assert client.receive()[:2] == (wire.AUTH, wire.TOKEN)
        adb("disconnect", target.serial)


# -- what it says of itself --------------------------------------------------------------


def test_it_says_what_its_phone_says(adb: Adb, phone: AndroidTarget) -> None:
    battery = adb.shell(phone, "dumpsys battery")
    assert "  level: 85\n" in battery and "  temperature: 295\n" in battery
    assert "[ro.product.cpu.abi]: [x86_64]" in adb.shell(phone, "getprop")
    assert adb.shell(phone, "getprop no.such; getprop no.such default") == "\ndefault\n"
    phone.set(battery_level=12, usb_powered=True, thermal_status=3, skin_temperature=47.25)
    battery = adb.shell(phone, "dumpsys battery")
    assert "  level: 12\n" in battery and "  USB powered: true\n" in battery
    thermal = adb.shell(phone, "dumpsys thermalservice")
    assert "Thermal Status: 3\n" in thermal
    assert "Temperature{mValue=47.2, mType=3, mName=SKIN, mStatus=3}" in thermal
    zones = adb.shell(phone, "cat /sys/class/thermal/thermal_zone2/type /sys/class/thermal/*/temp")
    assert zones.split() == ["skin", "38000", "29500", "47250"]
    assert adb.shell(phone, "cat /sys/class/power_supply/battery/capacity") == "12\n"
    with pytest.raises(UsageError, match=r"no 'batery_level'\s+did you mean 'battery_level'"):
        phone.set(batery_level=1)


def test_processors_are_this_machines_with_the_phones_frequencies(
    adb: Adb, phone: AndroidTarget
) -> None:
    cpu = "/sys/devices/system/cpu"
    here = Path(cpu, "cpu0/topology/core_id").read_text()
    assert adb.shell(phone, f"cat {cpu}/cpu0/topology/core_id") == here
    assert adb.shell(phone, f"cat {cpu}/possible") == Path(cpu, "possible").read_text()
    flags = re.search(r"^(flags|Features).*$", Path("/proc/cpuinfo").read_text(), re.M)
    assert flags is not None and flags[0] in adb.shell(phone, "cat /proc/cpuinfo")
    governor = f"{cpu}/cpu0/cpufreq/scaling_governor"
    assert adb.shell(phone, f"cat {governor}") == "schedutil\n"
    write = f"echo performance >{governor}"
    assert adb("-s", phone.serial, "shell", write, ok=False).returncode
    phone.set(governor_writable=True)
    adb.shell(phone, write)
    assert phone.governor() == "performance"
    phone.set(governor_writable=False)
    assert phone.governor() == "performance"
    assert adb("-s", phone.serial, "shell", write, ok=False).returncode


# -- the sandbox -------------------------------------------------------------------------


def test_a_pushed_program_runs_there(adb: Adb, phone: AndroidTarget) -> None:
    adb("-s", phone.serial, "push", os.path.realpath("/usr/bin/sha256sum"), f"{TMP}/program")
    assert adb.shell(phone, f"cd {TMP} && ./program </dev/null").startswith("e3b0c44298fc1c149a")
    assert adb.shell(phone, "id") == "uid=2000(shell) gid=2000(shell) groups=2000(shell)\n"


def test_nothing_outside_of_the_folder_is_there_or_can_be_written(
    adb: Adb, phone: AndroidTarget, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"""
for path in / /usr /usr/bin /system/bin /sys /proc/sys/kernel /dev; do
  (echo x >$path/x) 2>/dev/null && echo wrote $path
done
(echo 1 >/proc/sys/kernel/panic) 2>/dev/null && echo wrote a setting
ls {tmp_path} /home /root /tmp /work 2>/dev/null
cat {TMP}/../../../../../..{tmp_path}/secret 2>/dev/null
mount -o remount,rw /usr 2>/dev/null && echo mounted
/usr/bin/unshare -Urm mount -o remount,rw,bind /usr 2>/dev/null && echo mounted
/usr/bin/bash -c 'echo >/dev/tcp/127.0.0.1/{port}' 2>/dev/null && echo connected
env | grep -i -e harness -e python
cat /proc/1/environ /proc/2/maps 2>/dev/null
"""
        assert adb("-s", phone.serial, "shell", script, ok=False).stdout == b""
    # Links that lead out of it lead nowhere.
    (phone.data / "local/tmp/out").symlink_to(tmp_path)
    (phone.data / "local/tmp/up").symlink_to("../" * 30 + str(tmp_path / "secret").lstrip("/"))
    for path in (f"{TMP}/out/secret", f"{TMP}/up", f"/../..{tmp_path}/secret"):
        pull = adb("-s", phone.serial, "pull", path, tmp_path / "pulled", ok=False)
        assert pull.returncode and not (tmp_path / "pulled").exists()
    pushed = adb("-s", phone.serial, "push", __file__, f"{TMP}/out/secret", ok=False)
    assert pushed.returncode and (tmp_path / "secret").read_text() == "secret"


@pytest.mark.slow
def test_it_ends_with_who_started_it(tmp_path: Path) -> None:
    script = """
import signal
from tests.support.android import started
target = started(authenticate=False)
print(target.port, target.data.parent, flush=True)
signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port, folder = process.stdout.readline().split()
    assert Path(folder).is_dir()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wait_until(lambda: not Path(folder).exists())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), 5)


@pytest.mark.slow
def test_stopping_ends_all_and_data_of_a_folder_stay(adb: Adb, tmp_path: Path) -> None:
    with started(authorized_keys=[adb.public_key], folder=tmp_path / "phone") as target:
        adb.connect(target)
        with pytest.raises(HarnessError, match="another one runs in it"):
            AndroidTarget(folder=tmp_path / "phone").start(lambda text: None)
        adb.shell(target, f"echo kept >{TMP}/file; setsid sleep 98765 >/dev/null 2>&1 </dev/null &")
        assert b"sleep\x0098765" in _command_lines()
        target.stop()
        assert b"sleep\x0098765" not in _command_lines()
        target.stop()
        adb("disconnect", target.serial)
    with started(authenticate=False, folder=tmp_path / "phone") as again, Raw(again) as client:
        client.connect()
        client.open(f"exec:cat {TMP}/file".encode())
        assert client.all() == b"kept\n"


def _command_lines() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_system_without_namespaces_is_told_so(phone: AndroidTarget) -> None:
    script = """
from pathlib import Path
from harness.emulation.android import AndroidTarget
from harness.errors import MissingToolError
Path("/proc/sys/user/max_user_namespaces").write_text("0")
try:
    AndroidTarget().start(lambda text: None)
except MissingToolError as error:
    print(error)
"""
    outer = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", script]
    done = subprocess.run(outer, capture_output=True, text=True, timeout=60, check=False)
    if "Read-only file system" in done.stderr:
        needed("/proc/sys cannot be written, even in a user namespace")
    assert "cannot make the emulated Android: make namespaces" in done.stdout, done
    assert "user.max_user_namespaces" in done.stdout


@pytest.mark.usefixtures("phone")  # where there is none, this is skipped too
def test_a_device_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*harness_command(), "emulate", "android", "--profile", str(tmp_path / "it.toml")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "Ctrl-C ends it" not in (line := process.stderr.readline()):
        assert line
    daemon = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True,
                            check=True)  # fmt: skip
    os.kill(int(daemon.stdout), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3 and "the device ended by itself" in said
    assert not (tmp_path / "it.toml").exists()
