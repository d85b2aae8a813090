"""A declared device: identity and abilities, no connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.domain.backend import Backend


class DeviceKind(StrEnum):
    """What stands behind a number; kinds are never mixed in a comparison."""

    REAL = "real"
    EMULATED = "emulated"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Fence:
    """Which session wrote something: ``token`` rises with every session at a ``place``.

    A place is where one device keeps its leases; when that is lost, a new place begins.
    """

    place: str
    token: int


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its profile declares it.

    ``transport`` names an entry of the transports registry and ``link`` holds that
    transport's own settings (host, port, user, ...). ``accelerators`` is what the device
    offers. ``simulation`` holds the parameters of the modelled clock, in the units that
    ``harness.simulation.roofline`` documents; it is empty for real devices. ``faults`` are what
    goes wrong on a simulated one, in the words of ``harness.domain.fault``.
    """

    name: str
    kind: DeviceKind
    transport: str
    title: str = ""
    accelerators: tuple[str, ...] = ("cpu",)
    default_backend: Backend = field(default_factory=lambda: Backend("cpu", 1))
    link: Mapping[str, Any] = field(default_factory=dict)
    simulation: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def runner(self, backend: Backend) -> str:
        """What runs models there: one of ``RUNNERS``; a simulated device has its agent alone."""
        return "agent" if self.kind is DeviceKind.SIMULATED else backend.runner
