"""What a profiler said of an inference, joined with the file's graph; and two of them compared."""

from harness.metrics.profile.compare import Comparison, Pair, compare
from harness.metrics.profile.join import join
from harness.metrics.profile.record import MAX_KEPT, Profile, ProfiledOperator, TypeTotal

__all__ = [
    "MAX_KEPT",
    "Comparison",
    "Pair",
    "Profile",
    "ProfiledOperator",
    "TypeTotal",
    "compare",
    "join",
]
