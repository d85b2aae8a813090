"""The power chip of a Raspberry Pi 5: ``vcgencmd pmic_read_adc``.

It prints a current and a voltage for each of its rails,

    VDD_CORE_A current(7)=1.23100000A
    VDD_CORE_V volt(15)=0.87654000V

and newer firmware calls the second ``voltage``. The sum of their products is what the rails
deliver: what the chip itself loses, and what goes to USB devices past it, is not in it. Owners
who compared it with a meter in the supply found about 15 % more there, growing with the load.
"""

from __future__ import annotations

import re

from harness.devices.energy.meter import Lines, Named, OnDevice, bounded
from harness.errors import UnsupportedError

_VALUE = re.compile(r"(?:[a-z]+\(\d{1,3}\))?=?(\d{1,4}(?:\.\d{1,12})?)([AV])")


def watts(now: Lines, before: Lines | None = None) -> float:
    """Sum over rails that have both a current and a voltage."""
    del before
    found: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for key, value in now.items():
        rail, unit = key.removeprefix("adc.")[:-2], key[-1:]
        match = _VALUE.fullmatch(value)
        if key.startswith("adc.") and match and match[2] == unit and key[-2:-1] == "_":
            found[unit][rail] = float(match[1])
    rails = found["A"].keys() & found["V"].keys()
    if not rails:
        said = next((f"{key[4:]} {value}" for key, value in now.items() if key[:4] == "adc."), "")
        raise UnsupportedError(
            f"vcgencmd pmic_read_adc says {said[:80]!r}" if said else "no vcgencmd pmic_read_adc"
        )
    return bounded(sum(found["A"][rail] * found["V"][rail] for rail in rails), "the power chip")


PMIC = OnDevice(
    Named("pmic", 15.0, "found by owners against a meter in the supply: rails without losses"),
    watts,
)
