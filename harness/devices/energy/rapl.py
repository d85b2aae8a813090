"""Energy counters of Intel and AMD processors: /sys/class/powercap.

``energy_uj`` counts microjoules up to ``max_energy_range_uj`` and begins anew
(Documentation/power/powercap/powercap.rst). The packages are added up: memory, disks and the supply
are not in them. Only root may read them since the counters were found to leak secrets
(CVE-2020-8694).
"""

from __future__ import annotations

import re

from harness.devices.energy.meter import Lines, Named, OnDevice, bounded
from harness.errors import UnsupportedError

_PACKAGE = re.compile(r"intel-rapl:\d{1,3}")
_COUNT = re.compile(r"\d{1,19}")


def watts(now: Lines, before: Lines | None = None) -> float | None:
    """Mean power since ``before``; ``None`` for the first reading."""
    packages = sorted(
        zone for key in now if key.endswith(".name")
        and _PACKAGE.fullmatch(zone := key.removesuffix(".name"))
        and now[key].startswith("package")
    )  # fmt: skip
    if not packages:
        raise UnsupportedError("no energy counters (powercap)")
    if any(now.get(f"{zone}.energy_uj") == "denied" for zone in packages):
        raise UnsupportedError(
            "the energy counters may be read by root only",
            hint="as root: chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (they leak what "
            "other programs do: CVE-2020-8694)",
        )
    if before is None:
        _counts(now, packages)
        return None
    seconds = _seconds(now) - _seconds(before)
    if seconds <= 0:
        return None
    joules = 0.0
    for zone, end, start in zip(
        packages, _counts(now, packages), _counts(before, packages), strict=True
    ):
        text = now.get(f"{zone}.max_energy_range_uj", "")
        wrapped = int(text) + 1 if _COUNT.fullmatch(text) and end < start else 0
        joules += (end - start + wrapped) * 1e-6
    return bounded(joules / seconds, "the energy counter")


def _counts(lines: Lines, packages: list[str]) -> list[int]:
    found = [lines.get(f"{zone}.energy_uj", "") for zone in packages]
    if not all(map(_COUNT.fullmatch, found)):
        raise UnsupportedError("the energy counters say no numbers")
    return [int(text) for text in found]


def _seconds(lines: Lines) -> float:
    try:
        return float(lines.get("uptime", "").split()[0])
    except (IndexError, ValueError):
        raise UnsupportedError("the device tells no uptime") from None


RAPL = OnDevice(
    Named("rapl", 5.0, "assumed: the makers state none; processor packages only"), watts
)
