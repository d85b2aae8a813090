"""The whole of a calibration: fit, leave each model out, find how wide intervals must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, log

import numpy as np

from harness.calibration.cases import Case
from harness.calibration.fitting import Fit, fit, predicted_seconds
from harness.errors import UnsupportedError
from harness.simulation.prediction import Parameters
from harness.simulation.prediction.interval import UNKNOWN, few, place_of, spread_of

#: Steps of a fit that starts where the fit of all rows ended.
_FEW = 8

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted, the spreads of intervals, and residuals with each model left out.

    ``unseen`` has one for each case, in their order: logarithms of truth over prediction;
    ``strange`` the same with the model's whole family left out, every width and resolution.
    """

    fit: Fit
    spreads: Mapping[str, float]
    unseen: tuple[float, ...]
    strange: tuple[float, ...]
    cases: tuple[Case, ...]


def group_of(case: Case) -> tuple[str, str]:
    """The accelerator and the family of devices of a case."""
    assert case.setting is not None
    return place_of(case.setting.backend.accelerator), case.setting.hardware.family


def calibrate(
    cases: Sequence[Case],
    start: Mapping[str, float] | None = None,
    tell: Tell = lambda text: None,
) -> Calibration:
    """Parameters and spreads from every case that can be predicted."""
    usable = predictable(cases)
    tell(f"fitting {len(usable)} rows")
    found = fit(usable, start)
    unseen = left_out(usable, found.values, tell)
    strange = left_out(usable, found.values, tell, families=True)
    # What will be asked for is in part a relation of what was seen, in part like nothing.
    spreads = spreads_of((*usable, *usable), (*unseen, *strange))
    return Calibration(found, spreads, unseen, strange, usable)


def predictable(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Those that can run where they are said to have run, and of which a latency is known."""
    found = []
    for case in cases:
        with suppress(UnsupportedError):
            if case.ok and isfinite(predicted_seconds(case, Parameters())):
                found.append(case)
    return tuple(found)


def left_out(
    cases: Sequence[Case],
    start: Mapping[str, float],
    tell: Tell = lambda text: None,
    *,
    families: bool = False,
) -> tuple[float, ...]:
    """Residuals where each model was left out of the fit.

    A model is an architecture at one width and resolution; all its rows are left out together,
    on whatever device and in whatever type. With ``families`` all of its family are, as all
    MobileNets V1. Logarithms of truth over prediction, one for each case.
    """

    def name(case: Case) -> str:
        return case.family if families else case.architecture

    models = sorted({name(case) for case in cases})
    residuals = [0.0] * len(cases)
    for model in models:
        tell(f"leaving out {model}")
        rest = [case for case in cases if name(case) != model]
        values = fit(rest, start, steps=_FEW).values if rest else {}
        parameters = Parameters(values)
        for position, case in enumerate(cases):
            if name(case) == model:
                published = (case.published.published_ms or 1.0) / 1e3
                residuals[position] = log(published / predicted_seconds(case, parameters))
    return tuple(residuals)


def spreads_of(cases: Sequence[Case], residuals: Sequence[float]) -> dict[str, float]:
    """The spread of each accelerator, and of each family of devices on it, where there are rows.

    Those of few models lean on what is wider: a family on its accelerator; that on all
    accelerators, as drivers and chips hide more than processors do; the processors on themselves.
    """
    groups: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for case, residual in zip(cases, residuals, strict=True):
        groups.setdefault(group_of(case), []).append((case.architecture, residual))
    places = sorted({place for place, _ in groups})
    found: dict[str, float] = {}
    for place in places:
        alike = [r for (each, _), rs in groups.items() if _hidden(each) == _hidden(place)
                 for r in rs]  # fmt: skip
        sizes = [residual for _, residual in alike]
        wider = max(spread_of(sizes, UNKNOWN, _models(alike)), float(np.std(sizes)))
        families = {family: rs for (each, family), rs in groups.items() if each == place}
        of_place = [r for rs in families.values() for r in rs]
        found[place] = spread_of(_widened(of_place), wider, _models(of_place))
        if len(families) < 2:  # of its only family the same is known
            continue
        for family, members in sorted(families.items()):
            if family:
                own = spread_of(_widened(members), found[place], _models(members))
                found[f"{place}.{family}"] = own
    return found


def _hidden(place: str) -> bool:
    return place != "cpu"


def _widened(members: Sequence[tuple[str, float]]) -> list[float]:
    """Residuals, larger for being of few models."""
    factor = few(_models(members))
    return [factor * residual for _, residual in members]


def _models(members: Sequence[tuple[str, float]]) -> int:
    return len({model for model, _ in members})
