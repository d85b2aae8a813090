"""A declared experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.domain.backend import Backend
from harness.domain.device import Device
from harness.domain.gate import Gate
from harness.domain.model import Dataset, Model
from harness.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Suite:
    """models x recipes x devices x backends, with a Policy and the gates its runs must pass.

    An empty ``backends`` means each device's default.
    """

    name: str
    models: tuple[Model, ...]
    datasets: Mapping[str, Dataset]
    recipes: tuple[str, ...]
    devices: tuple[Device, ...]
    backends: tuple[Backend, ...]
    policy: Policy
    description: str = ""
    gates: tuple[Gate, ...] = ()
