"""What every report is made from: a run's records, read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.config import suite_from_json
from harness.domain import Suite
from harness.store import JobRecord, RunRecord, Store


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, its suite and its jobs; ``store`` gives raw samples where a report shows them."""

    run: RunRecord
    suite: Suite
    jobs: tuple[JobRecord, ...]
    store: Store


Formatter = Callable[[RunView, int], str]


def view_run(store: Store, name: str) -> RunView:
    """The run of this name; raises ``StoreError`` if there is none."""
    run = store.find_run(name)
    return RunView(run, suite_from_json(run.suite), tuple(store.jobs(run.id)), store)
