"""What a run says at its end, on stderr: the report's path, failures, how to resume."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.shared.options import DEFAULT_STORE
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.api.runs import RunResult
    from harness.orchestrate.events import Event, Listener


class RunHeard:
    """Hears which run goes on, to say how to resume it when it is stopped at once."""

    def __init__(self, store: str) -> None:
        self._store, self._run = store, ""

    def by(self, tell: Listener) -> Listener:
        """The listener, through which this one hears too."""
        from harness.orchestrate.events import RunStarted

        def told(event: Event) -> None:
            if isinstance(event, RunStarted):
                self._run = event.run
            tell(event)

        return told

    def how_to_resume(self) -> str:
        """One line, or nothing before there is a run; without the store's password."""
        if not self._run:
            return ""
        from sqlalchemy import make_url

        return _resume(self._run, _option(self._store, make_url(self._store).render_as_string()))


def after_run(result: RunResult, report: str | None, store: str) -> None:
    """Write the report and say what to do next."""
    store_shown = result.view.store.location  # without a password
    target = Path(report) if report else Path("results") / "reports" / f"{result.id}.html"
    option = _option(store, store_shown)
    try:
        written = result.report(target)
        print(f"\nreport: {written.resolve()}", file=sys.stderr)
    except HarnessError as error:  # the run itself is safe in the store
        print(f"\nno report: {error.one_line}", file=sys.stderr)
        print(f"later: harness report {result.id} -o FILE.html{option}", file=sys.stderr)
    if result.outcome is not None and result.outcome.interrupted:
        print(f"interrupted; {_resume(result.id, option)}", file=sys.stderr)


def _option(store: str, shown: str) -> str:
    return "" if store == DEFAULT_STORE else f" --store {shlex.quote(shown)}"


def _resume(run: str, option: str) -> str:
    return f"go on with: harness run --resume {run}{option}"


def gates(result: RunResult) -> bool:
    """Say which gates of the suite were not passed, a line each; true where all were."""
    if not result.view.suite.gates:
        return True
    from harness.api.nightly import check_view
    from harness.domain import Answer
    from harness.reports import gates as words

    found = check_view(result.view)
    for item in found.findings:
        if item.answer in (Answer.FAILED, Answer.CANNOT_TELL):
            print(words.line(item), file=sys.stderr)
    print(f"gates: {words.summary(found.findings)}", file=sys.stderr)
    return found.passed
