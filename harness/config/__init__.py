"""From TOML files to the domain: what is wrong is refused with its file and line."""

from harness.config.devices import find_device, known_devices
from harness.config.suites import Known, load_suite, shipped_suites, suite_from_json, suite_to_json

__all__ = [
    "Known",
    "find_device",
    "known_devices",
    "load_suite",
    "shipped_suites",
    "suite_from_json",
    "suite_to_json",
]
