"""Which failures are the device's, and how long to wait: for another try, for one's turn."""

from __future__ import annotations

import random
import time

from harness.devices.lease import Busy
from harness.domain import Policy
from harness.errors import (
    AgentCrashedError,
    AgentSetupError,
    AgentTimeoutError,
    DeviceBusyError,
    DeviceFullError,
    HarnessError,
    LeaseLostError,
    ProtocolError,
    TransportError,
)
from harness.orchestrate.events import Listener, Preparing
from harness.orchestrate.stop import Stop

#: The longest pause before another try, seconds, unless the Policy's own delay is longer.
MOST_DELAY = 120.0


def delay(policy: Policy, attempt: int, what: str) -> float:
    """Seconds before the try after ``attempt`` (from 0): twice as long each time, in bounds.

    Up to a quarter less, drawn from the seed and ``what``: devices that failed together (a
    switch, a power supply) do not all come back at the same moment.
    """
    longest = max(MOST_DELAY, policy.retry_delay)
    share = random.Random(f"{policy.seed}/{what}/{attempt}").uniform(0.75, 1.0)  # noqa: S311
    return min(longest, policy.retry_delay * 2.0**attempt) * share


def blames_device(error: HarnessError) -> bool:
    """Whether a failure says that the device is out of order, whatever job it was about.

    An agent that refuses a model and says why is in order; so is a device that has no room
    for one file, or whose lease another user has taken.
    """
    if isinstance(error, (LeaseLostError, DeviceFullError)):
        return False
    return isinstance(
        error,
        (TransportError, AgentSetupError, AgentCrashedError, AgentTimeoutError, ProtocolError),
    )


def waiting(policy: Policy, tell: Listener, stopped: Stop) -> Busy:
    """Waits ``busy_timeout`` in all for whoever has the device, and says once who that is."""
    deadline = time.monotonic() + policy.busy_timeout
    told = False

    def busy(error: DeviceBusyError) -> None:
        nonlocal told
        if time.monotonic() >= deadline or stopped():
            raise error
        if not told:
            tell(Preparing(f"waiting: {error.message}"))
            told = True
        stopped.wait(0.5)

    return busy
