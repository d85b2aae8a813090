"""``harness run``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, StoreOption
from harness.errors import UsageError


def run(
    suite: Annotated[
        str | None,
        typer.Argument(help="A suite file, or the name of a shipped suite.", metavar="SUITE.toml"),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", help="Only on this device; may be repeated."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="Only this recipe; may be repeated."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="Exactly so many fresh agent processes per job.", min=1),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", help="Go on with a run that did not end.", metavar="RUN"),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            help="What goes wrong on a simulated device; may be repeated. See docs/faults.md.",
            metavar="DEVICE: FAULT",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
    report: Annotated[
        str | None,
        typer.Option(
            "--report", help="The HTML report; default results/reports/RUN.html.", metavar="FILE"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and stop: nothing is touched.")
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="A rehearsal: every device as the simulation of its profile; no device is "
            "touched. Ends with the predicted duration, bytes and energy of the real run.",
        ),
    ] = False,
) -> None:
    """Run a suite: convert, push, measure, compare.

    Progress goes to stderr, the result to stdout; a suite with gates ends with a line for each
    that was not passed. Exit codes: 0 all well, 1 a gate was not passed, 3 some jobs failed
    (whatever the gates say), 130 interrupted.

    A fault is such as "pixel-3: disconnect at sample 40 of trial 2", "pixel-3: crash at load
    always" or "pixel-3: random rate=0.1 seed=7".

    Ctrl-C once finishes the running trial and says how to resume; twice stops at once.
    """
    import harness
    from harness.cli.shared import output, progress, reporting
    from harness.cli.shared.interrupts import stop_on_signals

    output.check_format(format)
    if simulate and dry_run:
        raise UsageError(
            "--dry-run shows the plan of the real night, --simulate rehearses it",
            hint="leave one of them out",
        )
    if dry_run:
        from harness.cli.shared import dry

        dry.show(suite, device or (), recipe or (), trials, format, fault or ())
        return
    if simulate and fault:
        raise UsageError(
            "--simulate rehearses a night without faults",
            hint="leave out --fault, or run the suite on simulated devices: -d pixel-3 --fault ...",
        )
    if simulate:
        from harness.cli.shared import rehearsal

        rehearsal.run(suite, device or (), recipe or (), trials, resume, store, format, report)
    heard = reporting.RunHeard(store)
    with progress.listener() as shown, stop_on_signals(last=heard.how_to_resume) as stop:
        result = harness.run(
            suite,
            devices=device or (),
            recipes=recipe or (),
            trials=trials,
            resume=resume,
            faults=fault or (),
            store=store,
            tell=heard.by(shown),
            stop=stop,
        )
    output.show(result, format)
    reporting.after_run(result, report, store)
    assert result.outcome is not None
    kept = result.outcome.interrupted or reporting.gates(result)
    raise typer.Exit(result.outcome.exit_code or (0 if kept else 1))
