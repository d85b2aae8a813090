"""What the agent runs on where a device is modelled: its clock, its system, its runtime.

No transport: ``simulated`` is the link to such a device.
"""

from harness.transports.modelled import files
from harness.transports.modelled.clock import ModelledClock
from harness.transports.modelled.runtime import ModelledRuntime
from harness.transports.modelled.sweeps import MODELLED_ACTIONS
from harness.transports.modelled.system import ModelledSystem

__all__ = ["MODELLED_ACTIONS", "ModelledClock", "ModelledRuntime", "ModelledSystem", "files"]
