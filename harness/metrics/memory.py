"""Peak memory of the agent's process."""

from __future__ import annotations

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``memory_peak`` in bytes (VmHWM): the largest over trials; the sweep's without trials."""
    peaks = [
        int(peak)
        for trial in observations.trials
        if (peak := (trial.facts.get("memory_peak_bytes") or {}).get("end"))
    ]
    if not peaks and observations.peak_memory_bytes:
        peaks = [observations.peak_memory_bytes]
    if not peaks:
        return ()
    return (
        Measurement("memory_peak", max(peaks), "bytes", Direction.LOWER, len(peaks), min(peaks)),
    )
