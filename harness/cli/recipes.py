"""``harness recipes``."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Only this one, with its parameters.", metavar="RECIPE")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """List the recipes and their parameters."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.cli.shared.converted import check_format
    from harness.cli.shared.output import console
    from harness.recipes import RECIPES, parse_recipe
    from harness.recipes.recipe import literal

    check_format(format)
    shown = RECIPES if name is None else {name: parse_recipe(name).recipe}
    if format == "json":
        rows = [
            {
                "recipe": recipe.name,
                "summary": recipe.summary,
                "calibrates": recipe.needs_calibration,
                "trains": recipe.needs_training,
                "ready_files": bool(recipe.quantize or recipe.unchanged or recipe.finish),
                "parameters": {
                    item.name: {"default": item.default, "help": item.help}
                    for item in recipe.parameters
                },
            }
            for recipe in shown.values()
        ]
        print(json.dumps(rows, indent=1))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("recipe", "needs", "what it makes"):
        table.add_column(title)
    for recipe in shown.values():
        needs = "training" if recipe.needs_training else ""
        table.add_row(
            recipe.name, needs or ("calibration" if recipe.needs_calibration else ""),
            Text(recipe.summary),
        )  # fmt: skip
    console().print(table)
    if name is None:
        print("\nParameters of one: harness recipes NAME; written as int8(calibration=100).")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("parameter", "default", ""):
        table.add_column(title)
    for item in next(iter(shown.values())).parameters:
        table.add_row(item.name, Text(literal(item.default)), Text(item.help))
    if table.row_count:
        console().print()
        console().print(table)
