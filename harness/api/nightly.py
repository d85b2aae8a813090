"""What is decided from the records of runs: gates, histories, recommendations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.gates import load_gates
from harness.config.quantities import bytes_of
from harness.config.suites import suite_file
from harness.decide.gates import evaluate
from harness.decide.recommend import recommend as choose
from harness.decide.regression import RunSources
from harness.decide.telling import telling
from harness.domain import Backend
from harness.errors import UsageError
from harness.orchestrate.environment import known_names
from harness.reports.gates import Checked
from harness.reports.recommend import Recommended
from harness.reports.view import RunView, view_run
from harness.store import DEFAULT_STORE, Store

if TYPE_CHECKING:
    from harness.decide.history import Series


def check(
    run: str = "last",
    *,
    gates: str | Path | None = None,
    store: str | Store = DEFAULT_STORE,
) -> Checked:
    """Hold a run against the gates of its own suite, or of the file ``gates``.

    Raises ``UsageError`` where there are no gates, ``StoreError`` where there is no such run.
    """
    opened = store if isinstance(store, Store) else Store(store, create=False)
    return check_view(view_run(opened, run), gates)


def check_view(view: RunView, gates: str | Path | None = None) -> Checked:
    """:func:`check` of a run that was read already."""
    chosen = view.suite.gates
    if gates is not None:
        chosen = load_gates(suite_file(gates), lambda text: known_names().recipe(text)[0])
    if not chosen:
        raise UsageError(
            f"the suite {view.suite.name} of run {view.run.id} has no gates",
            hint="name a file that has: --gates SUITE.toml, with a [gates] table",
        )
    sources = RunSources(view.store, view.run.id)
    found = evaluate(view.run.id, view.jobs, chosen, sources)
    return Checked(view.run.id, view.suite.name, tuple(found))


def history(
    metric: str,
    device: str,
    *,
    model: str = "",
    recipe: str = "",
    backend: str = "",
    suite: str = "",
    last: int = 0,
    least_effect: float | None = None,
    store: str | Store = DEFAULT_STORE,
) -> list[Series]:
    """A device's ``latency``, ``accuracy``, ``size`` or ``memory`` over runs, with its changes.

    ``last`` takes only so many of the newest runs, ``least_effect`` leaves out smaller changes
    (a share of the value before; 0.02 for latency and memory). Raises ``UsageError``.
    """
    if last < 0:
        raise UsageError(f"last = {last!r} must not be negative", hint="0 takes all runs")
    if least_effect is not None:
        least_effect = _bound("least_effect", least_effect)
    from harness.decide.history import Wanted  # SciPy's statistics: what only this one needs
    from harness.decide.history import history as look_back

    opened = store if isinstance(store, Store) else Store(store, create=False)
    if recipe:
        recipe = known_names().recipe(recipe)[0]
    if backend:
        try:
            backend = str(Backend.parse(backend))
        except ValueError as error:
            raise UsageError(str(error)) from None
    wanted = Wanted(metric, device, model, recipe, backend, suite, last, least_effect)
    return look_back(opened, wanted)


def recommend(
    run: str = "last",
    *,
    max_accuracy_drop: float | None = None,
    max_latency_ms: float | None = None,
    max_size: int | str | None = None,
    max_memory: int | str | None = None,
    minimize: str = "latency",
    store: str | Store = DEFAULT_STORE,
) -> Recommended:
    """The variant to take of a run on each device: within the bounds, the least ``minimize``.

    ``max_accuracy_drop`` in points below float32, sizes in bytes or as ``"2MB"``; ``minimize``
    is ``latency``, ``size`` or ``memory``. Raises ``UsageError``.
    """
    opened = store if isinstance(store, Store) else Store(store, create=False)
    bounds = {
        "max_accuracy_drop": max_accuracy_drop,
        "max_latency_ms": max_latency_ms,
        "max_size": _bytes("max_size", max_size),
        "max_memory": _bytes("max_memory", max_memory),
    }
    given = {name: _bound(name, value) for name, value in bounds.items() if value is not None}
    view = view_run(opened, run)
    choices = choose(view.jobs, given, minimize, telling(opened))
    return Recommended(view.run.id, minimize, given, tuple(choices))


def _bound(name: str, value: float) -> float:
    """NaN would keep every bound or none, whatever was measured."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise UsageError(f"{name} = {value!r} must be a number, 0 or more")
    return float(value)


def _bytes(name: str, value: int | str | None) -> int | None:
    try:
        found = bytes_of(value)
    except ValueError as error:
        raise UsageError(f"{name} = {value!r}: {error}") from None
    return None if found is None else int(found)
