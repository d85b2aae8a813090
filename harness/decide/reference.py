"""The float variant that the accuracy of a model's other variants is held against."""

from __future__ import annotations

from collections.abc import Sequence

from harness.domain import JobStatus, Measurement
from harness.metrics import main_measurement
from harness.store import JobRecord

#: The recipe that stands for a model as it was trained.
FLOAT = "float32"


def place(record: JobRecord) -> str:
    """The device that a job's numbers come from: another one where it was moved."""
    return str(record.facts.get("ran_on") or record.job.device)


def float_reference(record: JobRecord, records: Sequence[JobRecord]) -> JobRecord | None:
    """The job of ``records`` that this one's accuracy is compared with, or ``None``.

    The ``float32`` variant of the same model on the same device and backend; where that has
    no accuracy (an Edge TPU runs integers only), another backend's or another device's, for
    the same file over the same samples gives the same accuracy.
    """
    found = [
        item
        for item in records
        if item.job.recipe == FLOAT
        and item.job.model == record.job.model
        and item.status is JobStatus.OK
        and main_measurement(item.measurements) is not None
    ]

    def distance(other: JobRecord) -> tuple[bool, bool, bool]:
        return (
            place(other) != place(record),
            other.job.backend != record.job.backend,
            other.job.kind is not record.job.kind,
        )

    return min(found, key=distance, default=None)


def drop(own: Measurement, exact: Measurement) -> tuple[float, float | None, float | None]:
    """How much less accuracy, in the shares' unit, with its 95 % interval.

    The interval is put together from both (G. Y. Zou and A. Donner, Statistics in Medicine 27
    (2008) 1693) as if they were of different samples: wider than a paired one.
    """
    value = exact.value - own.value
    if own.low is None or own.high is None or exact.low is None or exact.high is None:
        return value, None, None
    below = ((exact.value - exact.low) ** 2 + (own.high - own.value) ** 2) ** 0.5
    above = ((exact.high - exact.value) ** 2 + (own.value - own.low) ** 2) ** 0.5
    return value, value - below, value + above
