"""Predictions held against a table: row by row, and the error of every group of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from harness.calibration.cases import Case
from harness.errors import UnsupportedError
from harness.simulation.prediction import Parameters, predict

#: The factor within which a prediction is called right, beside the median error.
FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Judged:
    """One row: what was published and what is predicted, in milliseconds.

    ``status`` is ``ok``, or why the row cannot be predicted. ``macs`` is 0 where unknown.
    """

    case: Case
    status: str
    predicted_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    macs: int = 0

    @property
    def device(self) -> str:
        """The profile's or the board's name; the table's words where there is none."""
        setting = self.case.setting
        return setting.hardware.name if setting else self.case.published.device[:60]

    @property
    def place(self) -> str:
        """The accelerator."""
        setting = self.case.setting
        return setting.backend.accelerator if setting else ""

    @property
    def residual(self) -> float:
        """The logarithm of truth over prediction."""
        assert self.predicted_ms is not None and self.case.published.published_ms is not None
        return log(self.case.published.published_ms / self.predicted_ms)

    def as_row(self) -> dict[str, Any]:
        """The columns that are promised, first; then what the row was taken for."""
        published, setting = self.case.published, self.case.setting
        return {
            "device": published.device,
            "backend": published.backend,
            "threads": published.threads,
            "model": published.model,
            "dtype": published.dtype or self.case.dtype,
            "published_ms": published.published_ms,
            "predicted_ms": self.predicted_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "status": self.status,
            "profile": setting.hardware.name if setting else None,
            "taken_for": str(setting.backend) if setting else None,
            "architecture": self.case.architecture or None,
        }


def judge(
    cases: Iterable[Case], parameters: Parameters, spreads: dict[str, float]
) -> tuple[Judged, ...]:
    """Every case predicted; one that cannot be says why."""
    return tuple(judged(case, parameters, spreads) for case in cases)


def judged(case: Case, parameters: Parameters, spreads: dict[str, float]) -> Judged:
    """One case predicted."""
    if case.prepared is None or case.setting is None:
        return Judged(case, case.status)
    setting = case.setting
    try:
        found = predict(
            case.prepared, setting.hardware, setting.backend, setting.runtime, parameters, spreads
        )
    except UnsupportedError as error:
        return Judged(case, str(error).splitlines()[0][:200])
    return Judged(
        case, "ok", found.latency_ms, found.low_ms, found.high_ms, case.prepared.graph.macs
    )


@dataclass(frozen=True, slots=True)
class Error:
    """How far predictions of some rows are off.

    ``median_percent`` is the median absolute percentage error; ``within`` the share within a
    factor of 1.5; ``coverage`` the share of truths in their intervals, ``None`` without any.
    """

    group: str
    rows: int
    median_percent: float
    within: float
    coverage: float | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "group": self.group,
            "rows": self.rows,
            "median_absolute_percentage_error": self.median_percent,
            "share_within_factor_1_5": self.within,
            "interval_coverage": self.coverage,
        }


def errors_by(rows: Sequence[Judged], key: Callable[[Judged], str]) -> tuple[Error, ...]:
    """The error of each group of the rows that could be predicted, by name."""
    groups: dict[str, list[Judged]] = {}
    for row in rows:
        if row.status == "ok":
            groups.setdefault(key(row), []).append(row)
    return tuple(error_of(name, groups[name]) for name in sorted(groups))


def error_of(name: str, rows: Sequence[Judged]) -> Error:
    """The error of rows, all of which were predicted."""
    held = [
        row.low_ms <= (row.case.published.published_ms or 0.0) <= row.high_ms
        for row in rows
        if row.low_ms is not None and row.high_ms is not None
    ]
    found = _error(name, [row.residual for row in rows])
    return Error(*found, coverage=float(np.mean(held)) if held else None)


def _error(name: str, residuals: Sequence[float]) -> tuple[str, int, float, float]:
    sizes = np.asarray(residuals, dtype=float)
    # |prediction - truth| / truth
    percent = 100.0 * np.abs(np.exp(-sizes) - 1.0)
    within = np.abs(sizes) <= log(FACTOR) + 1e-12
    return name, len(sizes), float(np.median(percent)), float(np.mean(within))


def one_rate(rows: Sequence[Judged], *, per_setting: bool) -> Error | None:
    """The baseline: so many multiply-accumulates a second, whatever they are.

    The rate is the one that suits these very rows best, in the median of logarithms: of all of
    them, or of each device, accelerator, type and number of threads. ``None`` without rows.
    """
    usable = [row for row in rows if row.status == "ok" and row.macs]
    groups: dict[Any, list[Judged]] = {}
    for row in usable:
        setting = row.case.setting
        assert setting is not None
        key = (row.device, str(setting.backend), row.case.dtype) if per_setting else ()
        groups.setdefault(key, []).append(row)
    residuals: list[float] = []
    for members in groups.values():
        each = [log((row.case.published.published_ms or 1.0) / row.macs) for row in members]
        middle = float(np.median(each))
        residuals.extend(value - middle for value in each)
    if not residuals:
        return None
    name = "one rate of MACs per device, backend, type" if per_setting else "one rate for all MACs"
    return Error(*_error(name, residuals), coverage=None)
