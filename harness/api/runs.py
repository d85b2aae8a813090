"""Runs: executed, resumed, loaded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.domain import Suite
from harness.errors import UsageError
from harness.reports import FORMATS, RunView, frame, job_rows, operator_rows, view_run
from harness.reports.profiles import JobProfile, job_profiles
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

    def profiles(
        self,
        *,
        model: str | None = None,
        recipe: str | None = None,
        device: str | None = None,
        backend: str | None = None,
    ) -> list[JobProfile]:
        """What each job's operators take, or why that is not known.

        Raises ``UsageError`` for a run whose Policy does not measure ``operators``.
        """
        choice = {"model": model, "recipe": recipe, "device": device, "backend": backend}
        return job_profiles(self.view, choice)

    def operators(self) -> pd.DataFrame:
        """One row per job and operator, those of a job by the time they take; times in ms."""
        import pandas as pd

        return pd.DataFrame(operator_rows.flat(self.profiles()), columns=operator_rows.COLUMNS)

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
    faults: Collection[str] = (),
    store: str | Store = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> RunResult:
    """Run a suite (a file, a shipped name, or a ``Suite``), or resume a run.

    ``faults`` strike simulated devices: ``pixel-3: disconnect at sample 40 of trial 2``, see
    ``docs/faults.md``. Raises ``UsageError`` before anything starts if something is wrong; what
    fails later is a record of its job and never an exception.
    """
    # Who only reads a run does not wait for what measures one.
    from harness.config.faults import with_faults
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
        plan = make_plan(with_faults(suite, faults))
    elif devices or recipes or faults or trials is not None:
        raise UsageError(
            "a resumed run keeps its own devices, recipes, trials and faults",
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
