"""Which CPU is emulated, and what its ``/proc/cpuinfo`` says.

Identifiers are those of QEMU's models (``MIDR_EL1``); the features those that Linux lists for
them. QEMU's own default, ``max``, is not ours: with it, XNNPACK's int8 kernels give wrong
outputs. Programs that find another machine's ``/proc/cpuinfo`` crash or run without XNNPACK.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.errors import UsageError, suggest

DEFAULT = "cortex-a76"

_V8 = "fp asimd evtstrm crc32 cpuid"
_CRYPTO = "aes pmull sha1 sha2"
_V82 = f"{_V8} {_CRYPTO} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Cpu:
    """A model of QEMU's (``QEMU_CPU``) as Linux would show it."""

    implementer: int
    variant: int
    part: int
    revision: int
    features: str


CPUS: dict[str, Cpu] = {
    "cortex-a53": Cpu(0x41, 0x0, 0xD03, 4, f"{_V8} {_CRYPTO}"),
    "cortex-a57": Cpu(0x41, 0x1, 0xD07, 0, f"{_V8} {_CRYPTO}"),
    "cortex-a72": Cpu(0x41, 0x0, 0xD08, 3, f"{_V8} {_CRYPTO}"),
    "cortex-a76": Cpu(0x41, 0x4, 0xD0B, 1, f"{_V82} ssbs"),
    "neoverse-n1": Cpu(0x41, 0x4, 0xD0C, 1, f"{_V82} ssbs"),
    "max,sme=off": Cpu(0x00, 0x0, 0x051, 0, _V82),
    "max": Cpu(0x00, 0x0, 0x051, 0, _V82),
}


def check(name: str) -> str:
    """The CPU's name, or the default for none; raises ``UsageError`` for an unknown one."""
    name = name or DEFAULT
    if name not in CPUS:
        raise UsageError(f"unknown CPU {name!r}", hint=suggest(name, CPUS))
    return name


def cpuinfo(name: str, count: int | None = None) -> str:
    """The text of ``/proc/cpuinfo`` with as many cores as this machine has."""
    cpu = CPUS[name]
    return "".join(
        f"processor\t: {index}\n"
        f"BogoMIPS\t: 100.00\n"
        f"Features\t: {cpu.features}\n"
        f"CPU implementer\t: {cpu.implementer:#04x}\n"
        f"CPU architecture: 8\n"
        f"CPU variant\t: {cpu.variant:#x}\n"
        f"CPU part\t: {cpu.part:#05x}\n"
        f"CPU revision\t: {cpu.revision}\n\n"
        for index in range(count or os.cpu_count() or 1)
    )
