"""A simulated device in trouble: link, agent and lease as a real device of that trouble shows them.

The trouble is planned by ``harness.simulation.faults``; everything else is the simulated device.
"""

from harness.domain import Device
from harness.transports.faulty.link import FaultyTransport
from harness.transports.simulated import SimulatedTransport
from harness.transports.transport import Transport


def simulated_link(device: Device) -> Transport:
    """The link to a simulated device, with the faults of its profile if it has any."""
    return FaultyTransport(device) if device.faults else SimulatedTransport(device)
