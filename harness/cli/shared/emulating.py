"""A target in the foreground: its profile where it is looked for, its end when it is due."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from harness.cache import whole_file
from harness.config.devices import device_files, own_devices
from harness.emulation import Target
from harness.emulation.loopback import HOST, is_free
from harness.errors import HarnessError, UsageError

#: The first line of a profile that was saved for as long as its target is up.
MARK = "# Written by harness emulate, and removed when it ends."

#: The line behind it: which process that is, and since when.
_PROCESS = re.compile(r"^# Process (\d{1,10}), begun at tick (\d{1,20})\.$", re.MULTILINE)

#: Seconds for which nobody may listen at a target's port: a reboot takes less.
_AWAY = 5.0


def tell(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def check_name(device: str) -> None:
    """Refuse a device's name that is no profile's, or that of another device's profile."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", device):
        raise UsageError(
            f"--name {device!r} is not a device's name",
            hint="letters, digits, and . _ - between them",
        )
    profile = device_files().get(device)
    if profile is not None and not _written_by_us(profile):
        raise UsageError(
            f"there is a device {device} already: {profile}", hint="choose another --name"
        )


def places(device: str, *, save: bool, profile: Path | None) -> list[Path]:
    """Where the profile is to be written; what others have put there stays."""
    wanted = [profile] if profile is not None else []
    if save:
        wanted.append(own_devices() / f"{device}.toml")
    for path in wanted:
        _refuse_taken(path)
    return wanted


def _refuse_taken(path: Path) -> None:
    """Only a profile whose target has ended without removing it is written over."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="--profile names the file to write")
    if not path.exists():
        return
    if not _written_by_us(path):
        raise UsageError(
            f"{path} is there already, and harness emulate has not written it",
            hint="choose another --name or --profile, or move it away",
        )
    process = _process(path)
    if process is not None:
        raise UsageError(
            f"{path} is of a target that is up: process {process} of harness emulate",
            hint="choose another --name or --profile, or end that one",
        )


def _written_by_us(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.readline().startswith(MARK.encode())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _process(path: Path) -> int | None:
    """The process that has written the profile, if it lives."""
    found = _PROCESS.search(path.read_text(encoding="utf-8", errors="replace"))
    pid = int(found[1]) if found else 0
    return pid if found and _began(pid) == int(found[2]) else None


def _began(pid: int) -> int | None:
    """When a process began, in clock ticks since the boot: its number alone may come again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def serve(target: Target, device: str, wanted: Sequence[Path], command: Sequence[str]) -> int:
    """Have the target up until a signal comes, or until ``command`` ends; the exit code."""
    with _signals_interrupt(), tempfile.TemporaryDirectory(prefix="edge-harness-") as folder:
        try:
            with _stopped(target):
                text = _marked(target.start(tell))
                devices = Path(folder)
                with _written([devices / f"{device}.toml", *wanted], text):
                    return _up(target, device, devices, bool(wanted), text, command)
        except KeyboardInterrupt:
            tell("interrupted: stopped")
            return 130


def _marked(profile: str) -> str:
    pid = os.getpid()
    return f"{MARK}\n# Process {pid}, begun at tick {_began(pid)}.\n{profile}"


def _up(
    target: Target, device: str, devices: Path, saved: bool, text: str, command: Sequence[str]
) -> int:
    if command:
        return _run(command, {**os.environ, "HARNESS_DEVICES": str(devices)})
    with contextlib.suppress(KeyboardInterrupt):
        _wait(target, device, devices, saved, text)
    tell("stopping")
    return 0


def _wait(target: Target, device: str, devices: Path, saved: bool, text: str) -> None:
    print(text, end="", flush=True)
    reach = f"harness run demo --device {device}"
    tell(f"{target.title} is up; in another terminal:")
    tell(f"  {reach}" if saved else f"  HARNESS_DEVICES={shlex.quote(str(devices))} {reach}")
    tell("Ctrl-C ends it")
    port = int(tomllib.loads(text)["port"])
    heard = time.monotonic()
    while time.monotonic() - heard < _AWAY:
        time.sleep(0.5)
        if not is_free(port):
            heard = time.monotonic()
    raise HarnessError(f"the device ended by itself: nobody listens on {HOST}:{port} any more")


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    try:
        process = subprocess.Popen(list(command), env=environment)
    except OSError as error:
        raise UsageError(
            f"cannot run {command[0]!r}: {error.strerror}", hint="what is after -- is a command"
        ) from None
    told = False
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            # A terminal's Ctrl-C has reached the command too; a signal to us alone has not.
            process.send_signal(signal.SIGKILL if told else signal.SIGTERM)
            told = True


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _stopped(target: Target) -> Iterator[None]:
    """Stops the target, whatever signals come meanwhile."""
    try:
        yield
    finally:
        before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            target.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _written(paths: Sequence[Path], text: str) -> Iterator[None]:
    done: list[Path] = []
    try:
        for path in paths:
            _refuse_taken(path)  # another target may have come up with ours
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise HarnessError(f"cannot make {path.parent}: {error.strerror}") from None
            with whole_file(path) as part:
                part.write_text(text, encoding="utf-8")
            done.append(path)
        yield
    finally:
        for path in done:
            with contextlib.suppress(OSError):
                if path.read_text(encoding="utf-8") == text:
                    path.unlink()
