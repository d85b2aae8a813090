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


def after_run(result: RunResult, report: str | None, store: str) -> None:
    """Write the report and say what to do next."""
    store_shown = result.view.store.location  # without a password
    target = Path(report) if report else Path("results") / "reports" / f"{result.id}.html"
    option = "" if store == DEFAULT_STORE else f" --store {shlex.quote(store_shown)}"
    try:
        written = result.report(target)
        print(f"\nreport: {written.resolve()}", file=sys.stderr)
    except HarnessError as error:  # the run itself is safe in the store
        print(f"\nno report: {error.one_line}", file=sys.stderr)
        print(f"later: harness report {result.id} -o FILE.html{option}", file=sys.stderr)
    if result.outcome is not None and result.outcome.interrupted:
        print(f"interrupted; go on with: harness run --resume {result.id}{option}", file=sys.stderr)


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
