"""``harness preflight``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.sources import ModelArgument


def preflight(
    model: ModelArgument,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """Show what training for integers would do with each layer.

    quantized: trained with its rounding. folded: part of the layer before it. unsupported: the
    reason says why; qat_int8(partial=true) leaves such layers out, where the reason does not say
    that they cannot be.
    """
    import json
    from collections import Counter

    from rich import box
    from rich.table import Table
    from rich.text import Text

    import harness
    from harness.cli.shared.converted import check_format
    from harness.cli.shared.output import console

    check_format(format)
    layers = harness.preflight(model)
    if format == "json":
        print(json.dumps(list(layers), indent=1))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("layer", "type", "status", "why"):
        table.add_column(title, overflow="fold")
    for layer in layers:
        table.add_row(
            Text(layer["name"]), Text(layer["type"]), layer["status"], Text(layer["reason"])
        )
    console().print(table)
    counts = Counter(layer["status"] for layer in layers)
    print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items()))
