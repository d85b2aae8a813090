"""``harness recipes``."""

from __future__ import annotations


def recipes() -> None:
    """List the recipes: the named conversions of a model."""
    from rich import box
    from rich.table import Table

    from harness.cli.output import console
    from harness.recipes import RECIPES

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("recipe", "calibration", "what it makes"):
        table.add_column(name)
    for recipe in RECIPES.values():
        table.add_row(recipe.name, "yes" if recipe.needs_calibration else "no", recipe.summary)
    console().print(table)
