"""What the real ``benchmark_model`` printed, kept among the shared truth."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path("truth") / "benchmark_model_output"


def recorded(shared: Path, name: str) -> list[str]:
    """A recording without the line of its command, its time and its exit code."""
    lines = (shared / RECORDED / name).read_text().splitlines()
    return lines[2:-1] if name.endswith(".txt") else lines
