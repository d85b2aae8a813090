"""What a pass is, and what it gets to work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.devices.readiness import Ready
from harness.devices.session import Answer, Session
from harness.domain import Device, Policy, Stage
from harness.orchestrate.lane_job import LaneJob
from harness.orchestrate.stop import Stop
from harness.store import JobStore


@dataclass(frozen=True, slots=True)
class Asking:
    """One attempt at a pass: everything that its ``run`` may use.

    ``part`` is which of the pass's agent processes this is, from 0. ``request(action)`` gives
    the part of a request that all actions share; ``trial_id`` is where raw samples go as they
    arrive (``store.append_samples``); ``ready`` how the device was found.
    """

    device: Device
    session: Session
    store: JobStore
    policy: Policy
    item: LaneJob
    part: int
    trial_id: int
    ready: Ready
    stopped: Stop
    request: Callable[[str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Pass:
    """One kind of measurement.

    ``run(asking)`` asks the agent and returns its answer with the facts that the trial keeps;
    it raises as ``Session.ask`` does. ``UnsupportedError`` is no failure of the job: the reason is
    kept as the fact ``unsupported``. ``wanted(item)`` says whether a job has such a thing at all.
    ``parts(policy)`` is how many agent processes it takes, a trial each; its number is the fact
    ``part``.
    """

    stage: Stage
    run: Callable[[Asking], tuple[Answer, Mapping[str, Any]]]
    wanted: Callable[[Device, LaneJob], bool] = lambda _device, _item: True
    parts: Callable[[Policy], int] = lambda _policy: 1
