"""How conversions are shown: lines on stderr as they end, a table or JSON on stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.orchestrate.convert import Converted

_FORMATS = ("table", "json")


def check_format(name: str) -> None:
    """Refuse an unknown format before anything starts."""
    if name not in _FORMATS:
        raise UsageError(f"unknown format {name!r}", hint="known: " + ", ".join(_FORMATS))


class Listener:
    """Says on stderr what ends, and how far a long conversion is."""

    def __init__(self) -> None:
        from harness.cli.shared.progress import Lines

        self._lines = Lines()
        self._say = self._lines.say

    def done(self, item: Converted) -> None:
        """A recipe is done with."""
        if item.variant is None:
            self._say(f"{item.recipe}: {item.status}: {item.reason}")
            return
        manifest = item.variant.manifest
        how = "from the cache" if item.cached else f"in {manifest.get('seconds', 0):.1f} s"
        self._say(f"{item.recipe}: {item.variant.size_bytes:,} bytes, {how}")
        for finding in manifest.get("calibration_findings") or ():
            self._say(f"  calibration: {finding}")
        for finding in item.variant.training_findings:
            self._say(f"  training: {finding}")

    def progress(self, recipe: str, said: Mapping[str, Any]) -> None:
        """A long conversion says how far it is; not every step is worth a line."""
        self._lines.say_of_conversion(recipe, said)


def show(found: Sequence[Converted], format: str) -> None:
    """Print what was made."""
    if format == "json":
        print(json.dumps([_row(item) for item in found], indent=1))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.cli.shared.output import console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("recipe", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("gzip", justify="right")
    table.add_column("file, or why there is none", overflow="fold")
    for item in found:
        size = f"{item.variant.size_bytes:,}" if item.variant else ""
        packed = item.variant.manifest.get("gzip_bytes") if item.variant else None
        where = str(item.file) if item.file else f"{item.status}: {item.reason}"
        table.add_row(Text(item.recipe), size, f"{packed:,}" if packed else "", Text(where))
    console().print(table)


def _row(item: Converted) -> dict[str, Any]:
    row: dict[str, Any] = {"recipe": item.recipe, "status": item.status}
    if item.evaluation is not None:
        row["evaluation"] = dict(item.evaluation)
    if item.variant is None:
        return {**row, "reason": item.reason}
    return {
        **row,
        "file": str(item.file),
        "manifest_file": str(item.manifest_file),
        "cached": item.cached,
        "sha256": item.variant.sha256,
        "size_bytes": item.variant.size_bytes,
        "manifest": dict(item.variant.manifest),
    }
