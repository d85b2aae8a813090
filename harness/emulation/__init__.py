"""Targets that are emulated on this machine: real code, no latencies worth the name.

A new target is one module or package with a class that is started and stopped, and one line in
``EMULATORS``.
"""

from harness.emulation.android import AndroidTarget

EMULATORS = {
    "android": AndroidTarget,
}

__all__ = ["EMULATORS", "AndroidTarget"]
