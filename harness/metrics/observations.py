"""What a job observed, before any estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Measurement, Policy, Task
from harness.stats import median


@dataclass(frozen=True, slots=True)
class TrialObservation:
    """One finished trial: samples by phase (ns unless it says otherwise), and the agent's facts.

    ``at`` has when each sample began, in ns since an origin of the trial's own.

    A tool that keeps no samples leaves ``facts["summary"]``, the statistics of its runs in us:
    ``count``, ``first``, ``min``, ``max``, ``mean``, ``std``, ``p5``, ``median``, ``p95`` (``None``
    where it does not print them), ``first_inference``, and ``warmup`` with those of the warm-up.
    """

    phases: Mapping[str, NDArray[np.int64]]
    facts: Mapping[str, Any]
    at: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def summary(self) -> Mapping[str, Any]:
        """The statistics that stand for samples; empty where there are samples."""
        found: Mapping[str, Any] = self.facts.get("summary") or {}
        return found

    @property
    def runs(self) -> int:
        """Measured runs."""
        return int(self.summary.get("count") or len(self.phases.get("measure", ())))

    @property
    def median_ns(self) -> float | None:
        """The median of the measured runs, where it is known."""
        values = self.phases.get("measure")
        if values is not None and len(values):
            return median(values)
        told = self.summary.get("median")
        return None if told is None else float(told) * 1000


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything that was observed of one job.

    What accuracy rests on is ``None`` where it was not asked for or the ``task`` has no such
    thing. Classification: ``predictions`` and ``labels``, class indices (n,), and
    ``top_classes`` (n, k), the highest output first. Anomaly, reconstruction, regression:
    ``errors`` (n,), each sample's mean squared error in real units, with ``labels`` 0 or 1
    of an anomaly detector. Segmentation: ``overlaps`` (n, 3, classes), by image the pixels
    right, predicted and labelled, and ``pixels`` (classes, classes), rows the labels.
    Detection: ``detections`` (n, boxes, 6) and ``truth``, see ``mean_average_precision``.
    ``agreement`` (m, 5) compares samples with the float32 variant, see ``agreement``.

    ``enough`` tells what ended the latency trials, see ``orchestrate.enough.Enough``; empty
    where it was not noted.
    ``passes`` has what was measured in processes of their own, by the Policy's name of it, and
    ``failed_passes`` why one of those is missing.
    ``delegated`` is the newest trial's fact of that name, see PROTOCOL.md.
    ``reference`` holds the output check: ``None`` when the host had no
    reference, else ``{"equal": bool, "relative_rms": float, "samples": n}``.
    """

    policy: Policy
    size_bytes: int
    trials: tuple[TrialObservation, ...] = ()
    passes: Mapping[str, tuple[TrialObservation, ...]] = field(default_factory=dict)
    failed_trials: int = 0
    failed_passes: Mapping[str, str] = field(default_factory=dict)
    enough: Mapping[str, Any] = field(default_factory=dict)
    predictions: NDArray[np.int64] | None = None
    labels: NDArray[Any] | None = None
    task: Task = Task.CLASSIFICATION
    classes: int = 0
    top_classes: NDArray[Any] | None = None
    errors: NDArray[np.float64] | None = None
    overlaps: NDArray[Any] | None = None
    pixels: NDArray[Any] | None = None
    detections: NDArray[Any] | None = None
    truth: Mapping[str, Any] = field(default_factory=dict)
    agreement: NDArray[np.float64] | None = None
    reference: Mapping[str, Any] | None = None
    reference_missing: str = ""
    integer16_activations: bool = False
    accelerator: str = "cpu"
    delegated: Mapping[str, Any] | None = None
    simulated: bool = False
    clock_resolution_ns: float = 0.0
    calibration_samples: int | None = None
    calibration_findings: tuple[str, ...] = ()
    training_findings: tuple[str, ...] = ()
    peak_memory_bytes: int | None = None
    runtime: str = ""
    moved_to: str = ""
    moved_because: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


Metric = Callable[[Observations], tuple[Measurement, ...]]
