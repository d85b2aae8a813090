"""A whole table judged: rows, errors by group, baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

from harness.calibration.calibrating import left_out, predictable, spreads_of
from harness.calibration.cases import Case, cases_of
from harness.calibration.fitting import fit
from harness.calibration.judging import Error, Judged, error_of, errors_by, judge, judged, one_rate
from harness.calibration.naming import Devices
from harness.calibration.table import read_table
from harness.config.prediction import prediction_data
from harness.errors import UsageError
from harness.simulation.prediction import Parameters
from harness.simulation.prediction.interval import interval

#: What nn-Meter's README states (github.com/microsoft/nn-Meter): the share of models predicted
#: within 10 %, by predictors that were trained on each of these devices. Quoted, not run.
NN_METER = (
    ("nn-Meter, Pixel 4 CPU (TFLite 2.1)", 0.990),
    ("nn-Meter, Adreno 640 GPU (TFLite 2.1)", 0.991),
    ("nn-Meter, Adreno 630 GPU (TFLite 2.1)", 0.990),
    ("nn-Meter, Movidius VPU (OpenVINO 2019R2)", 0.834),
)


@dataclass(frozen=True, slots=True)
class Validation:
    """What a table of published latencies says of the predictions.

    ``unseen`` is ``model`` or ``family`` where every row was predicted by a fit that had not seen
    that; else empty.
    """

    table: str
    rows: tuple[Judged, ...]
    unseen: str = ""

    @property
    def predicted(self) -> tuple[Judged, ...]:
        """The rows that could be predicted."""
        return tuple(row for row in self.rows if row.status == "ok")

    @property
    def overall(self) -> Error | None:
        """The error of all rows; ``None`` where none could be predicted."""
        return error_of("all", self.predicted) if self.predicted else None

    def errors(self) -> dict[str, tuple[Error, ...]]:
        """Errors by device, by device and backend, by family, by backend, by model."""
        return {
            "device": errors_by(self.rows, lambda row: row.device),
            "backend": errors_by(self.rows, lambda row: row.place),
            "family": errors_by(self.rows, _family),
            "device_and_backend": errors_by(self.rows, lambda row: f"{row.device} {row.place}"),
            "model": errors_by(self.rows, lambda row: row.case.architecture),
        }

    def baselines(self) -> tuple[Error, ...]:
        """One rate of multiply-accumulates: for all rows, and for each setting."""
        found = (one_rate(self.rows, per_setting=False), one_rate(self.rows, per_setting=True))
        return tuple(error for error in found if error is not None)

    def within_ten_percent(self) -> float | None:
        """The share of rows predicted within 10 %: nn-Meter's measure."""
        near = [abs(exp(-row.residual) - 1) <= 0.1 for row in self.predicted]
        return sum(near) / len(near) if near else None

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        overall = self.overall
        return {
            "table": self.table,
            "unseen": self.unseen or None,
            "rows": [row.as_row() for row in self.rows],
            "predicted": len(self.predicted),
            "overall": overall.as_dict() if overall else None,
            "share_within_10_percent": self.within_ten_percent(),
            "errors": {
                name: [error.as_dict() for error in errors]
                for name, errors in self.errors().items()
            },
            "baselines": [error.as_dict() for error in self.baselines()],
            "quoted": [
                {"name": name, "share_within_10_percent": share, "run": False}
                for name, share in NN_METER
            ],
        }


def _family(row: Judged) -> str:
    setting = row.case.setting
    family = setting.hardware.family if setting else ""
    return f"{family or row.device} {row.place}"


def validate(path: Path) -> Validation:
    """Every row of a table predicted with the parameters of the profiles.

    Raises ``UsageError`` for a file that is no such table, ``ConfigError`` for a wrong profile.
    """
    data = prediction_data()
    devices = Devices(data)
    cases = cases_of(read_table(path), devices)
    rows = judge(cases, devices.parameters(), dict(data.spreads))
    return Validation(str(path), rows)


def cross_validate(
    path: Path, tell: Callable[[str], None] = lambda text: None, *, families: bool = False
) -> Validation:
    """Every row predicted by a fit to the rows of all other models.

    With ``families``, of all models that are not of its family: harder. Intervals are those of
    the other models' residuals. Raises as ``validate`` does.
    """
    devices = Devices(prediction_data())
    cases = cases_of(read_table(path), devices)
    usable = predictable(cases)
    if len({case.architecture for case in usable}) < 2:
        raise UsageError(
            f"{path}: rows of fewer than two models can be predicted",
            hint="harness validate without --cross-validate says why of each row",
        )
    tell(f"fitting {len(usable)} rows")
    start = fit(usable).values
    residuals = left_out(usable, start, tell, families=families)
    rows = {id(case): row for case, row in zip(usable, _unseen(usable, residuals), strict=True)}
    # What cannot be predicted at all says the same why as without leaving anything out.
    others = {id(case): judged(case, Parameters(), {}) for case in cases if id(case) not in rows}
    return Validation(
        str(path),
        tuple((rows | others)[id(case)] for case in cases),
        unseen="family" if families else "model",
    )


def _unseen(cases: Sequence[Case], residuals: Sequence[float]) -> list[Judged]:
    spreads: dict[str, Mapping[str, float]] = {}
    for model in sorted({case.architecture for case in cases}):
        kept = [
            (case, residual)
            for case, residual in zip(cases, residuals, strict=True)
            if case.architecture != model
        ]
        spreads[model] = spreads_of([case for case, _ in kept], [r for _, r in kept])
    found = []
    for case, residual in zip(cases, residuals, strict=True):
        assert case.setting is not None and case.prepared is not None
        predicted = (case.published.published_ms or 0.0) * exp(-residual)
        low, high = interval(
            predicted,
            case.setting.hardware,
            case.setting.backend.accelerator,
            spreads[case.architecture],
        )
        found.append(Judged(case, "ok", predicted, low, high, case.prepared.graph.macs))
    return found
