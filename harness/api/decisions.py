"""What is decided from the records of runs: gates, histories, recommendations."""

from __future__ import annotations

from pathlib import Path

from harness.config.gates import load_gates
from harness.config.suites import suite_file
from harness.decide.gates import evaluate
from harness.decide.regression import regressions
from harness.errors import UsageError
from harness.orchestrate.environment import known_names
from harness.reports.gates import Checked
from harness.reports.view import RunView, view_run
from harness.store import DEFAULT_STORE, Store


def check(
    run: str = "last",
    *,
    gates: str | Path | None = None,
    store: str | Store = DEFAULT_STORE,
) -> Checked:
    """Hold a run against the gates of its own suite, or of the file ``gates``.

    Raises ``UsageError`` where there are no gates, ``StoreError`` where there is no such run.
    """
    opened = store if isinstance(store, Store) else Store(store, create=False)
    return check_view(view_run(opened, run), gates)


def check_view(view: RunView, gates: str | Path | None = None) -> Checked:
    """:func:`check` of a run that was read already."""
    chosen = view.suite.gates
    if gates is not None:
        chosen = load_gates(suite_file(gates), lambda text: known_names().recipe(text)[0])
    if not chosen:
        raise UsageError(
            f"the suite {view.suite.name} of run {view.run.id} has no gates",
            hint="name a file that has: --gates SUITE.toml, with a [gates] table",
        )
    regression = regressions(view.store, view.run, view.jobs)
    found = evaluate(view.run.id, view.jobs, chosen, regression)
    return Checked(view.run.id, view.suite.name, tuple(found))
