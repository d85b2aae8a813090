"""Removing what we keep on a device."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from harness.devices.session import Session
from harness.domain import Device


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a clean-up removed: ``files`` of ``size`` bytes in the folder ``root``."""

    root: str
    files: int
    size: int


def clean(device: Device, owner: str) -> Cleaned:
    """Remove all pushed files from a device; raises ``DeviceBusyError``, ``TransportError``.

    A disk without room for a lease is cleaned all the same: nobody else was found to have one.
    """
    session = Session(device, owner)
    session.open(full=True)
    with contextlib.closing(session):
        reply = session.clean()
    return Cleaned(reply.root, len(reply.gone), sum(reply.gone.values()))
