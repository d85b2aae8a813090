"""``harness table``."""

from __future__ import annotations

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, RunArgument, StoreOption


def table(
    run: RunArgument = "last", store: StoreOption = DEFAULT_STORE, format: FormatOption = "table"
) -> None:
    """Print the comparison table of a run."""
    import harness
    from harness.cli.shared import output

    output.check_format(format)
    output.show(harness.load(run, store=store), format)
