"""``harness operators``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, RunArgument, StoreOption

#: Operators of a table, unless told otherwise; JSON and CSV have all.
TOP = 15


def _only(what: str) -> Any:
    return typer.Option(f"--{what}", help=f"Only jobs of this {what}.", metavar=what.upper())


def _against(what: str) -> Any:
    return typer.Option(
        f"--against-{what}",
        help=f"Compare with the job that has this {what} instead.",
        metavar=what.upper(),
    )


def operators(
    run: RunArgument = "last",
    model: Annotated[str | None, _only("model")] = None,
    recipe: Annotated[str | None, _only("recipe")] = None,
    device: Annotated[str | None, _only("device")] = None,
    backend: Annotated[str | None, _only("backend")] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", help=f"So many operators per job; default {TOP}, json and csv all.", min=1
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Compare with this run, job by job.", metavar="RUN"),
    ] = None,
    against_recipe: Annotated[str | None, _against("recipe")] = None,
    against_device: Annotated[str | None, _against("device")] = None,
    against_backend: Annotated[str | None, _against("backend")] = None,
    across_kinds: Annotated[
        bool,
        typer.Option("--across-kinds", help="Compare real, emulated and simulated devices too."),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
) -> None:
    """Show which operators take the time of each job, or compare two jobs operator by operator.

    The run's Policy must measure operators: measure = ["latency", "accuracy", "operators"]. The
    native agent and benchmark_model have a profiler; simulated devices have modelled times.

    Two variants of one run: harness operators last --recipe float32 --against-recipe int8.
    Two runs: harness operators BASE --against HEAD.
    """
    import harness
    from harness.cli.shared import output
    from harness.reports import operator_rows, operators_table

    output.check_format(format)
    width, most = output.width(), top or TOP
    result = harness.load(run, store=store)
    comparing = (against, against_recipe, against_device, against_backend) != (None,) * 4
    if not comparing:
        found = result.profiles(model=model, recipe=recipe, device=device, backend=backend)
        if format == "json":
            print(operator_rows.as_json([operator_rows.profile_row(item, top) for item in found]))
        elif format == "csv":
            print(operator_rows.profiles_csv(found, top))
        elif format == "markdown":
            print(operator_rows.profiles_markdown(found, most))
        else:
            print(operators_table.render_profiles(found, most, width))
        return
    pairs = harness.compare_operators(
        result,
        None if against is None else harness.load(against, store=store),
        model=model,
        recipe=recipe,
        device=device,
        backend=backend,
        against_recipe=against_recipe,
        against_device=against_device,
        against_backend=against_backend,
        across_kinds=across_kinds,
    )
    if format == "json":
        print(operator_rows.as_json([operator_rows.compared_row(item, top) for item in pairs]))
    elif format == "csv":
        print(operator_rows.compared_csv(pairs, top))
    elif format == "markdown":
        print(operator_rows.compared_markdown(pairs, most))
    else:
        print(operators_table.render_compared(pairs, most, width))
