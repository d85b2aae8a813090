"""Memory of the agent's process."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """Bytes. ``memory_peak`` (VmHWM): the largest over trials; the sweep's without trials.

    Medians over trials, with the smallest and the largest for an interval: what was resident
    (VmRSS) with the runtime but no model, ``memory_before_load``, and with the model ready to
    infer, ``memory_after_load``; and ``memory_model``, the peak above what was there before the
    load. What a tensor arena takes is in these, but no runtime here tells it apart.
    """
    peaks = [
        int(peak)
        for trial in observations.trials
        if (peak := (trial.facts.get("memory_peak_bytes") or {}).get("end"))
    ]
    if not peaks and observations.peak_memory_bytes:
        peaks = [observations.peak_memory_bytes]
    if not peaks:
        return ()
    found = [
        Measurement("memory_peak", max(peaks), "bytes", Direction.LOWER, len(peaks), min(peaks))
    ]
    steps: dict[str, list[int]] = {"before_load": [], "after_load": [], "model": []}
    for trial in observations.trials:
        resident = trial.facts.get("memory_resident_bytes") or {}
        before, after = resident.get("start"), resident.get("loaded")
        peak = (trial.facts.get("memory_peak_bytes") or {}).get("end")
        if before and after and peak:
            steps["before_load"].append(before)
            steps["after_load"].append(after)
            steps["model"].append(max(0, peak - before))
    found.extend(_over_trials(f"memory_{name}", values) for name, values in steps.items() if values)
    return tuple(found)


def _over_trials(name: str, values: Sequence[int]) -> Measurement:
    return Measurement(
        name, float(statistics.median(values)), "bytes", Direction.LOWER, len(values),
        min(values), max(values), len(values),
    )  # fmt: skip
