"""What a native program for a device must be built for."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.devices.shell import run_script
from harness.errors import AgentSetupError
from harness.transports import Transport


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of machine, by the names that compilers, wheels and archives have for it.

    ``elf`` is ``e_machine`` of its ELF files (System V ABI), ``abi`` the folder of an ``.aar``,
    ``wheel`` the platform of a wheel of LiteRT, empty where there is none.
    """

    system: str
    machine: str
    elf: int
    triple: str
    abi: str
    wheel: str = ""

    @property
    def name(self) -> str:
        """As users write it: ``linux-arm64``."""
        return f"{self.system}-{self.machine}"


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("linux", "x86_64", 62, "x86_64-linux-gnu", "x86_64", "manylinux_2_27_x86_64"),
        Target("linux", "arm64", 183, "aarch64-linux-gnu", "arm64-v8a", "manylinux_2_27_aarch64"),
        Target("linux", "arm", 40, "arm-linux-gnueabihf", "armeabi-v7a"),
        Target("android", "arm64", 183, "aarch64-linux-android24", "arm64-v8a"),
        Target("android", "arm", 40, "armv7a-linux-androideabi24", "armeabi-v7a"),
        Target("android", "x86_64", 62, "x86_64-linux-android24", "x86_64"),
    )
}

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64",
             "armv7l": "arm", "armv8l": "arm"}  # fmt: skip


def this_machine() -> Target | None:
    """The target that runs here, or ``None`` where there is none."""
    machine = _MACHINES.get(platform.machine().lower(), "")
    return TARGETS.get(f"{platform.system().lower()}-{machine}")


def target_of(transport: Transport, device: str) -> Target:
    """Ask a device; raises ``AgentSetupError`` for one that nothing can be built for."""
    done = run_script(transport, "target.sh")
    said = dict(
        line.split(" ", 1)
        for line in done.stdout.decode("utf-8", "replace").splitlines()
        if " " in line
    )
    machine = _MACHINES.get(said.get("machine", "").lower(), "")
    name = f"linux-{machine}"
    if said.get("bits") == "32" and machine == "arm64":
        name = "linux-arm"  # a 64-bit kernel under a 32-bit system, as on many a Raspberry Pi
    if "android" in said:
        name = next(
            (t.name for t in TARGETS.values() if (t.system, t.abi) == ("android", said["android"])),
            f"android {said['android'][:40]!r}",
        )
    if said.get("libc") == "musl":
        raise AgentSetupError(
            f"{device}: its C library is musl, and LiteRT is built for glibc and Android only",
            hint="set agent_binary and runtime_library of this device to your own builds",
        )
    if done.exit_code or name not in TARGETS:
        raise AgentSetupError(
            f"{device}: no native agent is known for its machine "
            f"({' '.join(said.get('machine', 'unknown').split())[:40]})",
            hint="set agent_binary and runtime_library of this device to your own builds, or "
            "agent = 'python'",
        )
    return TARGETS[name]


def check_elf(path: Path, target: Target, what: str) -> None:
    """Refuse a file that cannot run on the target; raises ``AgentSetupError``."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(20)
    except OSError as error:
        raise AgentSetupError(f"cannot read {what} {path}: {error.strerror}") from None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise AgentSetupError(f"{what} {path} is not a program or library of Linux")
    machine = int.from_bytes(head[18:20], "little")
    if machine != target.elf:
        others = sorted({other.machine for other in TARGETS.values() if other.elf == machine})
        raise AgentSetupError(
            f"{what} {path} is for {' or '.join(others) or 'another machine'}, and the device is "
            f"{target.name}",
            hint=f"give the one that was built for {target.name}",
        )
