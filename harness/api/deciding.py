"""Comparisons from Python."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from harness.decide.compare import MIN_EFFECT, Comparison
from harness.decide.compare import compare as _compare
from harness.domain import Outcome
from harness.errors import UsageError
from harness.store import DEFAULT_STORE, Store


@dataclass(frozen=True, slots=True, repr=False)
class CompareResult:
    """What ``compare`` found."""

    comparison: Comparison

    def __repr__(self) -> str:
        return f"<comparison of {self.comparison.head} with {self.comparison.base}>"

    @property
    def worse(self) -> bool:
        """Whether anything is worse."""
        return bool(self.comparison.of(Outcome.WORSE))

    @property
    def nothing(self) -> bool:
        """Whether there is not a single verdict."""
        verdicts = (item for cell in self.comparison.cells for item in cell.verdicts)
        return all(item.outcome is Outcome.CANNOT_TELL for item in verdicts)

    @property
    def unclear(self) -> bool:
        """Whether anything could not be told or not be compared."""
        return bool(self.comparison.of(Outcome.CANNOT_TELL) or self.comparison.uncompared)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per cell and measurement."""
        from harness.reports.compare_rows import rows

        return rows(self.comparison)

    def text(self, format: str = "table", width: int = 100) -> str:
        """The comparison as ``table``, ``json``, ``csv`` or ``markdown``."""
        from harness.reports import compare_rows, compare_table

        forms = {"table": compare_table.render, **compare_rows.FORMS}
        if format not in forms:
            raise UsageError(f"unknown format {format!r}", hint="known: " + ", ".join(forms))
        return forms[format](self.comparison, width)


def compare(
    base: str,
    head: str,
    *,
    min_effect: float = MIN_EFFECT,
    allow: Collection[str] = (),
    store: str | Store = DEFAULT_STORE,
) -> CompareResult:
    """Compare two runs, or variants or devices within a run, as in ``RUN:MODEL/RECIPE@DEVICE``.

    ``min_effect`` is a share (0.02: 2 %). Raises ``UsageError``, ``StoreError``.
    """
    if isinstance(allow, str):
        raise UsageError(f"allow = {allow!r} is one text", hint=f"write allow=[{allow!r}]")
    opened = store if isinstance(store, Store) else Store(store, create=False)
    return CompareResult(_compare(opened, base, head, min_effect=min_effect, allow=allow))
