"""What a job observed, before any estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Measurement, Policy


@dataclass(frozen=True, slots=True)
class TrialObservation:
    """One finished latency trial: samples in ns by phase, and the agent's facts."""

    phases: Mapping[str, NDArray[np.int64]]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything that was observed of one job.

    ``predictions`` and ``labels`` are class indices (n,), ``None`` when no accuracy was
    asked for. ``reference`` holds the output check: ``None`` when the host had no
    reference, else ``{"equal": bool, "relative_rms": float, "samples": n}``.
    """

    policy: Policy
    size_bytes: int
    trials: tuple[TrialObservation, ...] = ()
    failed_trials: int = 0
    predictions: NDArray[np.int64] | None = None
    labels: NDArray[np.int64] | None = None
    reference: Mapping[str, Any] | None = None
    reference_missing: str = ""
    integer16_activations: bool = False
    accelerator: str = "cpu"
    simulated: bool = False
    clock_resolution_ns: float = 0.0
    calibration_samples: int | None = None
    peak_memory_bytes: int | None = None
    runtime: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


Metric = Callable[[Observations], tuple[Measurement, ...]]
