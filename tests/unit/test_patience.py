from __future__ import annotations

from dataclasses import replace

import pytest

from harness import errors
from harness.domain import Device, DeviceKind, Policy
from harness.errors import HarnessError
from harness.orchestrate.lanes import alike
from harness.orchestrate.patience import MOST_DELAY, blames_device, delay


def test_pauses_double_within_bounds_and_by_the_seed() -> None:
    policy = Policy(retries=10, retry_delay=2.0)
    pauses = [delay(policy, attempt, "board") for attempt in range(10)]
    for attempt, pause in enumerate(pauses):
        most = min(MOST_DELAY, 2.0 * 2**attempt)
        assert 0.75 * most <= pause <= most
    assert pauses == [delay(policy, attempt, "board") for attempt in range(10)]
    assert pauses != [delay(policy, attempt, "other") for attempt in range(10)]
    assert delay(Policy(retry_delay=600), 3, "x") <= 600
    assert delay(Policy(retry_delay=0), 3, "x") == 0


#: Every error that a job may fail of: is it tried again, and is it held against the device?
CLASSES: dict[str, tuple[bool, bool]] = {
    "JobError": (False, False),
    "ConversionError": (False, False),
    "NotDeployableError": (False, False),
    "UnsupportedError": (False, False),
    "TransportError": (False, True),
    "UnreachableError": (True, True),
    "HostKeyError": (False, True),
    "AuthenticationError": (False, True),
    "LinkLostError": (True, True),
    "LeaseLostError": (True, False),
    "DeviceFullError": (False, False),
    "PushError": (True, True),
    "PullError": (False, True),
    "AgentError": (False, False),
    "AgentSetupError": (False, True),
    "AcceleratorBusyError": (True, False),
    "AgentCrashedError": (True, True),
    "AgentTimeoutError": (True, True),
    "ProtocolError": (False, True),
    "AgentReportedError": (False, False),
}


def test_every_error_of_a_job_is_classified() -> None:
    def below(kind: type[HarnessError]) -> set[type[HarnessError]]:
        return {kind}.union(*(below(sub) for sub in kind.__subclasses__()))

    assert {kind.__name__ for kind in below(errors.JobError)} == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_transient_and_whose_fault(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("x", evaluation={}) if name == "NotDeployableError" else kind("x")
    assert (error.transient, blames_device(error)) == CLASSES[name]


def test_jobs_move_between_devices_of_one_kind_only() -> None:
    one = Device("a", DeviceKind.REAL, "ssh", title="a")
    other = replace(one, name="b", title="b")
    assert alike(one, other) and not alike(one, one)
    assert alike(replace(one, title="Pi 4"), replace(other, title="Pi 4"))
    assert alike(one, replace(other, title="Pi 4"))  # nothing is known against it
    assert not alike(replace(one, title="Pi 5"), replace(other, title="Pi 4"))
    assert not alike(one, replace(other, kind=DeviceKind.EMULATED))
    assert not alike(one, replace(other, transport="adb"))
    assert not alike(one, replace(other, accelerators=("cpu", "edgetpu")))
