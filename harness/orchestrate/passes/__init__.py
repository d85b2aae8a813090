"""What is measured of a job beside its accuracy and its latency, one file per kind.

Each is an agent process of its own, after the latency trials of all jobs of the device, so that
nothing of it disturbs them. A new kind is one file with a ``Pass``, a line in ``PASSES``, a
``Stage`` of the same name and its name in ``domain.policy.PASSES``; what it observes reaches
metrics as ``Observations.passes``.
"""

from harness.orchestrate.passes import operators, scenarios
from harness.orchestrate.passes.energy import ENERGY
from harness.orchestrate.passes.kind import Asking, Pass
from harness.orchestrate.passes.sustained import SUSTAINED

#: By the name under which a Policy asks for it (``measure``).
PASSES: dict[str, Pass] = {
    "operators": operators.PASS,
    "scenarios": scenarios.PASS,
    "sustained": SUSTAINED,
    "energy": ENERGY,
}

__all__ = ["PASSES", "Asking", "Pass"]
