"""A run of a suite on simulations of its devices, with what the real one will take."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.runs import RunResult, run
from harness.store import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.orchestrate.events import Listener
    from harness.orchestrate.stop import Stop


def rehearse(
    suite: str | Path,
    *,
    devices: Collection[str] = (),
    recipes: Collection[str] = (),
    trials: int | None = None,
    store: str = DEFAULT_STORE,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> tuple[RunResult, dict[str, Any]]:
    """Run a suite with every device swapped for the simulation of its profile.

    Returns the run, whose records are of kind ``simulated``, and what the real one is predicted to
    take; see ``orchestrate.rehearsal.night``. Raises ``UsageError`` as ``harness.run`` does, and
    where no simulated device stands for one of the suite.
    """
    from harness.config.devices import simulated_devices
    from harness.config.suites import load_suite
    from harness.orchestrate.environment import known_names
    from harness.orchestrate.forecast import forecast
    from harness.orchestrate.plan import make_plan
    from harness.orchestrate.rehearsal import night, rehearsed

    known = known_names()
    policy = {} if trials is None else {"trials": trials}
    real = load_suite(suite, known, devices=devices, recipes=recipes, policy=policy)
    instead = rehearsed(real, simulated_devices(known.transports))
    result = run(instead, store=store, tell=tell, stop=stop)
    pushed = forecast(make_plan(real))["bytes_to_push"]
    view = result.view
    return result, night(real, instead.devices, view.store, view.jobs, pushed)
