"""``harness run --dry-run``: the plan in words, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection

from harness.errors import UsageError


def show(
    suite: str | None,
    devices: Collection[str],
    recipes: Collection[str],
    trials: int | None,
    format: str,
    faults: Collection[str] = (),
) -> None:
    """Print what a run would do."""
    from harness.config.faults import with_faults
    from harness.config.suites import load_suite
    from harness.orchestrate.environment import known_names
    from harness.orchestrate.forecast import forecast
    from harness.orchestrate.plan import make_plan
    from harness.reports import notes

    if format not in ("table", "json"):
        raise UsageError("a plan is shown as table or json", hint="leave --format out")
    if suite is None:
        raise UsageError("--dry-run needs a suite")
    policy = {} if trials is None else {"trials": trials}
    loaded = load_suite(suite, known_names(), devices=devices, recipes=recipes, policy=policy)
    plan = make_plan(with_faults(loaded, faults))
    found = forecast(plan)
    if format == "json":
        print(json.dumps(found, indent=1))
        return
    print(f"{plan.suite.name}: {len(plan.jobs)} jobs")
    print(f"Policy: {notes.policy_line(plan.suite.policy)}\n")
    width = max(len(f"{job.model}/{job.recipe}") for job in plan.jobs)
    for job in plan.jobs:
        name = f"{job.model}/{job.recipe}"
        print(f"  {job.index:>3}  {name:<{width}}  {job.device} ({job.backend}), {job.kind.value}")
    print(f"\nvariants: {found['variants']}, of which {found['variants_cached']} are in the cache")
    print("to push, unless it is there already:")
    for name, count in found["bytes_to_push"].items():
        print(f"  {name}: about {count / 1e6:.1f} MB")
    least, most = _duration(found["seconds"]), _duration(found["seconds_at_most"])
    longer = f", up to {most} where latencies vary much" if most != least else ""
    print(f"estimated time: about {least}{longer}")
    print("nothing was started; leave --dry-run out to run it")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
