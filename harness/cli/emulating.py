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
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from harness.cache import whole_file
from harness.config.devices import own_devices
from harness.emulation import Target
from harness.errors import HarnessError, UsageError

#: The first line of a profile that was saved for as long as its target is up.
MARK = "# Written by harness emulate, and removed when it ends."


def tell(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def check_name(device: str) -> None:
    """Refuse a device's name that could not be the name of its profile."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", device):
        raise UsageError(
            f"--name {device!r} is not a device's name",
            hint="letters, digits, and . _ - between them",
        )


def places(device: str, *, save: bool, profile: Path | None) -> list[Path]:
    """Where the profile is to be written; what others have put there stays."""
    wanted = [profile] if profile is not None else []
    if save:
        wanted.append(own_devices() / f"{device}.toml")
    for path in wanted:
        if path.exists() and not path.read_bytes().startswith(MARK.encode()):
            raise UsageError(
                f"{path} is there already, and harness emulate has not written it",
                hint="choose another --name or --profile, or move it away",
            )
    return wanted


def serve(target: Target, device: str, wanted: Sequence[Path], command: Sequence[str]) -> int:
    """Have the target up until a signal comes, or until ``command`` ends; the exit code."""
    with _signals_interrupt(), tempfile.TemporaryDirectory(prefix="edge-harness-") as folder:
        try:
            with _stopped(target):
                text = f"{MARK}\n{target.start(tell)}"
                devices = Path(folder)
                with _written([devices / f"{device}.toml", *wanted], text):
                    return _up(target, device, devices, bool(wanted), text, command)
        except KeyboardInterrupt:
            tell("interrupted: stopped")
            return 130


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
    while True:
        signal.pause()


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
