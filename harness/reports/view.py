"""What every report is made from: a run's records, read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.config.suites import suite_from_json
from harness.domain import Suite
from harness.store import JobRecord, RunRecord, Store


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, its suite and its jobs by model, device and backend.

    ``store`` gives raw samples where a report shows them.
    """

    run: RunRecord
    suite: Suite
    jobs: tuple[JobRecord, ...]
    store: Store


Formatter = Callable[[RunView, int], str]


def view_run(store: Store, name: str) -> RunView:
    """The run of this name; raises ``StoreError`` if there is none."""
    run = store.find_run(name)
    suite = suite_from_json(run.suite)
    models = [model.name for model in suite.models]
    devices = [device.name for device in suite.devices]

    def place(record: JobRecord) -> tuple[int, int, str, int]:
        job = record.job
        return models.index(job.model), devices.index(job.device), str(job.backend), job.index

    return RunView(run, suite, tuple(sorted(store.jobs(run.id), key=place)), store)
