"""Cells held against a baseline."""

from __future__ import annotations

from collections.abc import Sequence

from harness.decide.gates import Found, Regression
from harness.domain import Answer
from harness.store import JobRecord, RunRecord, Store


def regressions(store: Store, run: RunRecord, records: Sequence[JobRecord]) -> Regression:
    """What holds the cells of a run against another one."""

    def held(name: str, record: JobRecord) -> Found:
        return Found(Answer.CANNOT_TELL, why="todo")

    return held
