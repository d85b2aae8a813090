"""Runs: executed, resumed, loaded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.domain import Suite
from harness.errors import UsageError
from harness.reports import FORMATS, RunView, frame, job_rows, view_run
from harness.store import DEFAULT_STORE, Store

if TYPE_CHECKING:
    import pandas as pd

    from harness.orchestrate.events import Listener
    from harness.orchestrate.run import Outcome
    from harness.orchestrate.stop import Stop


@dataclass(frozen=True, slots=True, repr=False)
class RunResult:
    """A run that was executed or loaded."""

    view: RunView
    outcome: Outcome | None = None

    def __repr__(self) -> str:
        return f"<run {self.id}: {len(self.view.jobs)} jobs, {self.view.run.status}>"

    def _repr_html_(self) -> str:
        html: str = self.table().to_html(escape=True)
        return html

    @property
    def id(self) -> str:
        """The run's id."""
        return self.view.run.id

    def table(self) -> pd.DataFrame:
        """One row per job: the stable columns, then size_ratio, accuracy_delta and speed_up."""
        return frame(self.view.jobs)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per job with the stable columns."""
        return job_rows(self.view.jobs)

    def text(self, format: str = "table", width: int = 100) -> str:
        """The rows as ``table``, ``json``, ``csv`` or ``markdown``."""
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}", hint="known: " + ", ".join(FORMATS))
        return FORMATS[format](self.view, width)

    def report(self, path: str | Path) -> Path:
        """Write the self-contained HTML report; returns where it is."""
        from harness.reports import html

        return html.write(self.view, Path(path))


def run(
    suite: str | Path | Suite | None = None,
    *,
    devices: Collection[str] = (),
    recipes: Collection[str] = (),
    trials: int | None = None,
    resume: str | None = None,
    store: str | Store = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> RunResult:
    """Run a suite (a file, a shipped name, or a ``Suite``), or resume a run.

    Raises ``UsageError`` before anything starts if something is wrong; what fails later is
    a record of its job and never an exception.
    """
    # Who only reads a run does not wait for what measures one.
    from harness.config.suites import load_suite
    from harness.orchestrate.environment import known_names
    from harness.orchestrate.plan import make_plan
    from harness.orchestrate.run import execute

    if (suite is None) == (resume is None):
        raise UsageError("give either a suite, or a run to resume")
    opened = store if isinstance(store, Store) else None
    plan = None
    if suite is not None:
        if not isinstance(suite, Suite):
            policy = {} if trials is None else {"trials": trials}
            suite = load_suite(
                suite, known_names(), devices=devices, recipes=recipes, policy=policy
            )
        plan = make_plan(suite)
    elif devices or recipes or trials is not None:
        raise UsageError(
            "a resumed run keeps its own devices, recipes and trials",
            hint="start a new run to change them",
        )
    if opened is None:
        assert isinstance(store, str)
        opened = Store(store, create=resume is None)
    outcome = execute(opened, plan=plan, resume=resume, tell=tell, stop=stop)
    return RunResult(view_run(opened, outcome.run), outcome)


def load(run_id: str = "last", *, store: str | Store = DEFAULT_STORE) -> RunResult:
    """A run from the store: its id, an unambiguous beginning of one, or ``last``."""
    opened = store if isinstance(store, Store) else Store(store, create=False)
    return RunResult(view_run(opened, run_id))
