"""How fast files reach an Android device, against adb itself."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.common import Line, ratios
from harness.domain import Device
from harness.transports.adb import AdbTransport
from harness.transports.transport import Upload
from tests.support.adb import start_adb, start_android

SIZE = 64 << 20

REMOTE = "/data/local/tmp/pushed"


def _seconds(push: Callable[[], object]) -> float:
    begin = time.perf_counter()
    push()
    return time.perf_counter() - begin


def _pusher(device: Device, file: Path) -> Callable[[], None]:
    """As ``adb push`` is timed: with the opening of the link."""

    def push() -> None:
        link = AdbTransport(device)
        try:
            link.open()
            link.put([Upload(file, REMOTE)], lambda count: None)
        finally:
            link.close()

    return push


def run(rounds: int) -> Iterator[Line]:
    """A push of 64 MB to an emulated Android: throughput over that of ``adb push``."""
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "file"
        file.write_bytes(os.urandom(SIZE))
        with start_adb(Path(work) / "home") as adb, start_android(adb.key) as target:
            adb("connect", target.serial)
            command = ["adb", "-P", str(adb.port), "-s", target.serial, "push", str(file), REMOTE]

            def theirs() -> None:
                subprocess.run(command, check=True, capture_output=True, env=adb.environment)

            ways = {
                "adb": theirs,
                "server": _pusher(adb.by_server(target), file),
                "direct": _pusher(adb.directly(target), file),
            }
            found: dict[str, list[float]] = {name: [] for name in ways}
            for push in ways.values():
                push()
            for _ in range(rounds):
                for name, push in ways.items():
                    found[name].append(_seconds(push))
            assert (target.data / "local/tmp/pushed").read_bytes() == file.read_bytes()
    for name in ("server", "direct"):
        # Throughput over throughput is time over time, the other way round.
        yield Line(f"{name} link / adb push, 64 MB", ratios(found["adb"], found[name]), 0.9, 99)
    yield Line("adb push, 64 MB", tuple(found["adb"]), 0, 99, " s")
