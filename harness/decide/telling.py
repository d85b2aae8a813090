"""Whether two jobs of a run can be told apart in what is to be small."""

from __future__ import annotations

from harness.decide.candidates import GOALS
from harness.decide.recommend import Difference, Tell
from harness.store import JobRecord, Store


def telling(store: Store) -> Tell:
    """Compares jobs of this store; see ``Tell``."""

    def tell(least: JobRecord, other: JobRecord, goal: str) -> Difference:
        one, two = (item.measurements[GOALS[goal]] for item in (least, other))
        return Difference(two.value > one.value)

    return tell
