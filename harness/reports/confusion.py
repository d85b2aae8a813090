"""The confusion matrix of a job, for those reports that show it."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.reports.view import RunView
from harness.store import JobRecord

#: A larger matrix is not shown; it stays in the store, as the job's artifact ``confusion``.
MOST_SHOWN = 50


def as_lists(view: RunView, record: JobRecord) -> list[list[int]] | None:
    """Counts, a row per label and a column per prediction; ``None`` without, or if too large."""
    found = view.store.artifact(record.id, "confusion")
    if found is None or len(found) > MOST_SHOWN:
        return None
    return [[int(count) for count in row] for row in found]


def shown(view: RunView) -> list[dict[str, Any]]:
    """Each job's matrix for a page: names of the classes, and counts with their share of the row.

    The same matrix of several devices is shown once, with all of its jobs.
    """
    pages: dict[str, dict[str, Any]] = {}
    for record in view.jobs:
        counts = as_lists(view, record)
        if counts is None:
            continue
        key = f"{record.job.model} {record.job.recipe} {counts}"
        if key in pages:
            pages[key]["jobs"].append(record.job.label)
            continue
        names = list(record.facts.get("classes") or ())
        totals = np.maximum(np.sum(counts, axis=1), 1)
        pages[key] = {
            "jobs": [record.job.label],
            "pixels": record.facts.get("task") == "segmentation",
            "names": [
                str(names[index]) if index < len(names) else str(index)
                for index in range(len(counts))
            ],
            "rows": [
                [{"count": count, "share": count / total} for count in row]
                for row, total in zip(counts, totals.tolist(), strict=True)
            ],
        }
    return list(pages.values())
