"""What a sustained load did, and what an inference costs in energy, below the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.reports.numbers import significant
from harness.store import JobRecord


def parts(records: Sequence[JobRecord]) -> Iterator[RenderableType]:
    """Headings and tables; nothing where nothing of it was measured."""
    loaded = [item for item in records if "sustained_first" in item.measurements]
    if loaded:
        yield Text("\nSustained load", style="bold")
        yield Text("medians of the first and the last minute (of a third each, if shorter)",
                   style="dim")  # fmt: skip
        yield _table(("job", "kind", "minutes", "first ms", "last ms", "ratio", "runs/s", "°C",
                      "MHz"), [sustained_cells(item) for item in loaded])  # fmt: skip
    metered = [item for item in records if "energy" in item.measurements]
    if metered:
        yield Text("\nEnergy per inference", style="bold")
        yield Text("above the power at rest; ± is half of the 95 % interval", style="dim")
        yield _table(("job", "kind", "mJ", "gross mJ", "idle W", "load W", "meter"),
                     [energy_cells(item) for item in metered])  # fmt: skip


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading in headings:
        text = heading in ("job", "kind", "meter")
        table.add_column(heading, justify="left" if text else "right", no_wrap=heading != "job")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def sustained_cells(record: JobRecord) -> tuple[str, ...]:
    """One job's row of the table of loads."""
    found = record.measurements

    def value(name: str, digits: int = 3) -> str:
        return significant(found[name].value, digits) if name in found else "-"

    ratio = found.get("sustained_ratio")  # none where a fast model's median is 0 to the clock
    half = "" if ratio is None or ratio.low is None or ratio.high is None else (
        f" ±{significant((ratio.high - ratio.low) / 2, 1)}"
    )  # fmt: skip
    degrees = "-"
    if "temperature_start" in found:
        degrees = f"{found['temperature_start'].value:.0f} to {found['temperature_max'].value:.0f}"
    mhz = "-"
    if "frequency_start" in found:
        mhz = f"{found['frequency_start'].value:.0f} to {found['frequency_end'].value:.0f}"
    return (
        record.job.label, record.job.kind.value,
        significant(found["sustained_seconds"].value / 60, 2), value("sustained_first"),
        value("sustained_last"), value("sustained_ratio") + half, value("sustained_throughput"),
        degrees, mhz,
    )  # fmt: skip


def energy_cells(record: JobRecord) -> tuple[str, ...]:
    """One job's row of the table of energies."""
    found = record.measurements
    net = found["energy"]
    half = "±?" if net.low is None or net.high is None else (
        f"±{significant(max(0.0, net.high - net.low) / 2, 2)}"
    )  # fmt: skip
    meter = record.facts.get("power_meter") or {}
    accuracy = meter.get("accuracy_percent")
    stated = "" if accuracy is None else f" (±{accuracy:g} %)"
    return (
        record.job.label, record.job.kind.value, f"{significant(net.value)} {half}",
        significant(found["energy_gross"].value), significant(found["power_idle"].value),
        significant(found["power_load"].value), f"{meter.get('name', '?')}{stated}",
    )  # fmt: skip
