"""Devices emulated on this machine: real code on an emulated CPU, or behind an emulated link.

A new target is one class that is a ``Target`` and one line in ``EMULATORS``. Their modules are
imported when one is made, so that the command line stays quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from harness.emulation.target import Preparable, Target, Tell
from harness.errors import UsageError, suggest


@dataclass(frozen=True)
class Emulator:
    """How a target is made: ``factory`` is ``module:class``, ``options`` what that takes.

    ``prepared``: something of it is made once and kept, see ``Preparable``.
    """

    title: str
    device: str
    factory: str
    options: tuple[str, ...] = ()
    prepared: bool = False

    def make(self, options: Mapping[str, object]) -> Target:
        """A target that is not started; raises ``UsageError`` for an option it does not know."""
        for name in options:
            if name not in self.options:
                raise UsageError(
                    f"--{name} is not an option of this target",
                    hint=suggest(name, self.options),
                )
        module, _, factory = self.factory.partition(":")
        target: Target = getattr(importlib.import_module(module), factory)(**options)
        return target


EMULATORS: dict[str, Emulator] = {
    "linux-arm64": Emulator(
        title="a Debian for arm64 under QEMU, by ssh",
        device="emulated-arm64",
        factory="harness.emulation.linux_arm64.target:LinuxArm64Target",
        options=("port", "cpu"),
        prepared=True,
    ),
    "android": Emulator(
        title="an Android's daemon with a sandboxed folder, by adb",
        device="emulated-android",
        factory="harness.emulation.android.target:AndroidTarget",
        options=("port",),
    ),
}

__all__ = ["EMULATORS", "Emulator", "Preparable", "Target", "Tell"]
