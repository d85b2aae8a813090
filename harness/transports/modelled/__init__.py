"""What the agent runs on where a device is modelled: its clock, its system, its runtime.

No transport: ``simulated`` is the link to such a device.
"""

from harness.transports.modelled import files
from harness.transports.modelled.process import SimulatedProcess
from harness.transports.modelled.state import DeviceBody, GovernorProcess

__all__ = ["DeviceBody", "GovernorProcess", "SimulatedProcess", "files"]
