"""Devices that a command is given by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.domain import Device


def named_devices(names: Sequence[str], suite: str | None) -> Sequence[Device]:
    """Those of profiles, or of a suite's own tables too; raises ``UsageError``."""
    from harness.config.devices import device_files, find_device
    from harness.config.suites import load_suite
    from harness.devices.emulated import how_to_start_again
    from harness.errors import ConfigError
    from harness.orchestrate.environment import known_names
    from harness.transports import TRANSPORTS

    def find(name: str) -> Device:
        try:
            return find_device(name, TRANSPORTS)
        except ConfigError as error:
            error.hint = how_to_start_again(name, device_files()[name]) or error.hint
            raise

    if suite is None:
        return [find(name) for name in names]
    return load_suite(suite, known_names(), devices=names).devices
