"""An Android that is a folder of this machine, reached by adb's own protocol."""

from harness.emulation.android.phone import Phone
from harness.emulation.android.target import AndroidTarget

__all__ = ["AndroidTarget", "Phone"]
