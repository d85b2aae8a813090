"""This machine in the dress of a board: its own files in place of some of the kernel's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.domain import Device, DeviceKind
from harness.transports import Completed
from harness.transports.local import LocalProcess, LocalTransport
from tests.support import needed

#: What a phone with two kinds of processors shows, under /sys.
PHONE = {
    **{
        f"devices/system/cpu/cpu{n}/{name}": value
        for n in range(8)
        for name, value in {
            "online": "1",
            "cpu_capacity": "1024" if n > 5 else "325",
            "cpufreq/scaling_governor": "schedutil",
            "cpufreq/scaling_available_governors": "performance schedutil powersave",
            "cpufreq/scaling_cur_freq": "1401600",
            "cpufreq/cpuinfo_max_freq": "2803200" if n > 5 else "1803000",
            "cpufreq/scaling_max_freq": "2803200" if n > 5 else "1803000",
        }.items()
    },
    "class/thermal/thermal_zone0/type": "battery",
    "class/thermal/thermal_zone0/temp": "61000",
    "class/thermal/thermal_zone1/type": "cpu-1-7",
    "class/thermal/thermal_zone1/temp": "48500",
    "class/power_supply/battery/type": "Battery",
    "class/power_supply/battery/capacity": "81",
    "class/power_supply/battery/status": "Discharging",
    "class/power_supply/battery/temp": "287",
    "class/power_supply/usb/type": "USB",
    "class/power_supply/usb/online": "0",
}

_PLACES = ("devices/system/cpu", "class/thermal", "class/power_supply")


class Board(LocalTransport):
    """Commands of this transport see the files of ``folder`` instead of the kernel's."""

    def __init__(
        self, folder: Path, files: Mapping[str, str] = PHONE, stat: str | None = None
    ) -> None:
        super().__init__(Device("phone", DeviceKind.REAL, "local"))
        self.folder = folder
        for place in _PLACES:
            (folder / place).mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            self.set(name, value)
        mounts = " && ".join(f"mount --rbind '{folder}/{place}' /sys/{place}" for place in _PLACES)
        if stat is not None:
            (folder / "stat").write_text(stat)
            mounts += f" && mount --bind '{folder}/stat' /proc/stat"
        script = f'{mounts} && exec "$@"'
        self._inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "-"]
        tried = subprocess.run([*self._inside, "true"], capture_output=True, check=False)
        if tried.returncode != 0:
            needed(f"no user namespace with mounts of its own: {tried.stderr.decode()}")

    def set(self, name: str, value: str) -> None:
        """Write one of the files under /sys."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")

    def command(self, argv: Sequence[str]) -> list[str]:
        """What runs ``argv`` in there, for who starts it by other means."""
        return [*self._inside, *argv]

    def read(self, name: str) -> str:
        """Read one of the files under /sys."""
        return (self.folder / name).read_text().strip()

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        return super().run([*self._inside, *argv], stdin=stdin, timeout=timeout)

    def start(self, argv: Sequence[str]) -> LocalProcess:
        return super().start([*self._inside, *argv])


def until(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it became true within so many seconds."""
    import time

    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
