"""Links to devices: they move bytes and run commands, and know nothing of models.

A new link is one file with a class that is a ``Transport`` and one line in ``TRANSPORTS``.
"""

from harness.transports import adb, faulty, local, ssh
from harness.transports.transport import (
    Completed,
    Place,
    Process,
    Transport,
    TransportFactory,
    Upload,
)

TRANSPORTS: dict[str, TransportFactory] = {
    "local": local.LocalTransport,
    "ssh": ssh.SshTransport,
    "adb": adb.AdbTransport,
    "simulated": faulty.simulated_link,
}

__all__ = ["TRANSPORTS", "Completed", "Place", "Process", "Transport", "TransportFactory", "Upload"]
