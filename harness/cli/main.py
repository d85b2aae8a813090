"""Putting the commands together; errors become a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import typer

from harness.cli import (
    ab,
    agent,
    baseline,
    calibrate,
    check,
    compare,
    convert,
    debug,
    devices,
    doctor,
    emulate,
    export,
    history,
    inspect,
    operators,
    predict,
    preflight,
    recipes,
    recommend,
    report,
    run,
    runs,
    scenarios,
    search,
    table,
    validate,
)
from harness.cli.shared import streams
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help costs more than all the rest of --help
    help="Convert a trained model into its quantized .tflite variants, run them on devices, "
    "and compare size, latency, accuracy and memory.",
    epilog="Start with: harness run demo. Exit codes: 0 all well, 1 a gate or "
    "comparison failed, 2 wrong usage or profile, 3 some jobs failed, 130 interrupted, "
    "141 nobody reads the output any more.",
)

app.command("run")(run.run)
app.command("convert")(convert.convert)
app.command("preflight")(preflight.preflight)
app.command("debug")(debug.debug)
app.command("search")(search.search)
app.command("runs")(runs.runs)
app.command("table")(table.table)
app.command("compare")(compare.compare)
app.command("ab")(ab.ab)
app.command("scenarios")(scenarios.scenarios)
app.command("operators")(operators.operators)
app.command("check")(check.check)
app.add_typer(baseline.app, name="baseline")
app.command("history")(history.history)
app.command("recommend")(recommend.recommend)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("inspect")(inspect.inspect)
app.command("predict")(predict.predict)
app.command("validate")(validate.validate)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(devices.app, name="devices")
app.command("doctor")(doctor.doctor)
app.command("emulate")(emulate.emulate)
app.command("recipes")(recipes.recipes)
app.add_typer(agent.app, name="agent")


def _version(asked: bool) -> None:
    if asked:
        from harness import __version__

        print(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks of errors."),
    version: bool = typer.Option(
        False, "--version", help="Show the version.", callback=_version, is_eager=True
    ),
) -> None:
    del version
    if debug:
        os.environ["HARNESS_DEBUG"] = "1"


def main() -> None:
    """The entry point of ``harness``."""
    streams.occupy()
    try:
        try:
            app()
        finally:
            streams.flush()
    except SystemExit as end:
        broken = end.__context__
        if not isinstance(broken, BrokenPipeError):
            raise
        # The command line's library has made a 1 of it, even of its own errors that nobody reads.
        _keep_status(broken)
        _nobody_reads()
    except BrokenPipeError as broken:
        _keep_status(broken)
        _nobody_reads()
    except HarnessError as error:
        if os.environ.get("HARNESS_DEBUG"):
            raise
        streams.say(f"error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG"):
            raise
        if isinstance(error, OSError):
            _keep_status(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            streams.abandon()
            where = error.filename or "the output"
            streams.say(f"error: cannot write {where}: {error.strerror}")
            sys.exit(3)
        streams.say(f"error: a defect of the harness: {type(error).__name__}: {error}")
        streams.say("  see all of it with: harness --debug ...")
        sys.exit(3)


def _keep_status(unsaid: OSError) -> None:
    """Leave with the exit status of the error that could not be told, where it was one."""
    error: BaseException | None = unsaid
    while error is not None:
        status = getattr(error, "exit_code", None)
        if isinstance(status, int) and status:
            streams.abandon()
            streams.say("")
            sys.exit(status)
        error = error.__context__


def _nobody_reads() -> NoReturn:
    streams.abandon()
    sys.exit(streams.NOBODY_READS)
