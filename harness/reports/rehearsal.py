"""What a real run will take, as its rehearsal predicts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text(night: Mapping[str, Any]) -> str:
    """A line for the whole, one per device, and one for what was assumed."""
    devices = night["devices"]
    width = max(len(name) for name in devices)
    partly = any(row["joules"] is None for row in devices.values())
    lines = [f"predicted for the real devices: {_totals(night, 'at least ' if partly else '')}"]
    for name, row in devices.items():
        lines.append(f"  {name:<{width}}  {row['trials']} agent processes, {_totals(row)}")
    rates = ", ".join(
        f"{name} {rate:g}" for name, rate in night["assumed"]["link_mb_per_s"].items()
    )
    start = night["assumed"]["agent_start_seconds"]
    lines.append(f"assumed: pushes in MB/s: {rates}; {start:g} s for an agent's start")
    if night["failed"]:
        jobs = "1 job" if night["failed"] == 1 else f"{night['failed']} jobs"
        lines.append(f"not counted: {jobs} without numbers")
    return "\n".join(lines)


def _totals(row: Mapping[str, Any], least: str = "") -> str:
    parts = [duration(row["seconds"]), f"{row['bytes'] / 1e6:.1f} MB to push"]
    if row["joules"] is not None:
        parts.append(f"{least}{row['joules']:,.0f} J")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds up to 90, then minutes, then hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
