"""Live devices: one exclusive session each, with its pushed files and its agent."""

from harness.devices.blobs import Blob
from harness.devices.session import Answer, Session

__all__ = ["Answer", "Blob", "Session"]
