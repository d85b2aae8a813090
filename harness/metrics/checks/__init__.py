"""The advisories of a job: each names its evidence.

A check is a function that looks at what was seen of one job and yields its advisories. A new one
is a function in the file of its subject, and a line in ``CHECKS``; a new kind of advisory is a
member of ``AdvisoryKind`` with its next step, and a row in docs/advisories.md.
"""

from collections.abc import Callable, Iterator

from harness.domain import Advisory
from harness.metrics import energy, sustained
from harness.metrics.checks import (
    agreement,
    amount,
    enough,
    load,
    placement,
    readiness,
    stability,
    throttling,
    timer,
    variant,
)
from harness.metrics.checks.seen import Seen
from harness.metrics.observations import Observations

Check = Callable[[Seen], Iterator[Advisory]]

#: In the order of the weight of what they find.
CHECKS: dict[str, Check] = {
    "outputs": variant.outputs,
    "moved": placement.moved,
    "delegation": placement.delegation,
    "kernels": variant.kernels,
    "summary": amount.summary,
    "throttled": throttling.said,
    "throttling": throttling.measured,
    "sustained": lambda seen: sustained.throttled(seen.observations),
    "frequency": throttling.frequency,
    "load": load.others,
    "drifting": stability.drifting,
    "modes": stability.two_states,
    "trials": amount.trials,
    "passes": amount.passes,
    "agreement": agreement.trials,
    "precision": enough.precision,
    "steadiness": enough.steadiness,
    "samples": amount.samples,
    "threads": placement.threads,
    "readiness": readiness.missed,
    "timer": timer.coarse,
    "energy": lambda seen: energy.unknown(seen.observations),
    "calibration": variant.calibration,
    "training": variant.training,
}


def advisories(observations: Observations) -> tuple[Advisory, ...]:
    """Every advisory that the observations call for, in the order of their weight."""
    seen = Seen(observations)
    return tuple(advisory for check in CHECKS.values() for advisory in check(seen))


__all__ = ["CHECKS", "Check", "Seen", "advisories"]
