"""From a Suite to sealed jobs: plan, prepare, and run every device.

``execute`` runs a suite or resumes a run; what happens is told as typed events.
"""

from harness.orchestrate.environment import known_names
from harness.orchestrate.forecast import forecast
from harness.orchestrate.plan import Plan, make_plan
from harness.orchestrate.run import Outcome, execute
from harness.orchestrate.stop import Stop

__all__ = ["Outcome", "Plan", "Stop", "execute", "forecast", "known_names", "make_plan"]
