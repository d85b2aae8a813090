"""What a variant brings with it: outputs, kernels, calibration, training."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.domain.model import CALIBRATION_WANTED
from harness.metrics.checks.seen import Seen


def outputs(seen: Seen) -> Iterator[Advisory]:
    """Outputs that are not those of the host, or that nothing could be compared with."""
    reference = seen.observations.reference
    if seen.observations.reference_missing:
        yield Advisory(AdvisoryKind.NO_REFERENCE, seen.observations.reference_missing)
    elif reference is not None and not reference["equal"]:
        yield Advisory(
            AdvisoryKind.OUTPUTS_DIFFER,
            f"outputs on {reference['samples']} fixed samples differ from the host's by "
            f"{reference['relative_rms']:.2g} (relative RMS; allowed {reference['allowed']:g})",
        )


def kernels(seen: Seen) -> Iterator[Advisory]:
    """Types that the runtime has only slow kernels for."""
    observations = seen.observations
    if observations.integer16_activations and observations.accelerator == "cpu":
        yield Advisory(
            AdvisoryKind.REFERENCE_KERNELS,
            f"{observations.runtime or 'the runtime'} runs 16-bit activations with unoptimised "
            "reference kernels on the CPU",
        )


def calibration(seen: Seen) -> Iterator[Advisory]:
    """Too few calibration samples, or odd ones."""
    count = seen.observations.calibration_samples
    if count is not None and count < CALIBRATION_WANTED:
        yield Advisory(AdvisoryKind.FEW_CALIBRATION_SAMPLES, f"calibrated on {count} samples")
    for finding in seen.observations.calibration_findings:
        yield Advisory(AdvisoryKind.SUSPECT_CALIBRATION, f"calibration: {finding}")


def training(seen: Seen) -> Iterator[Advisory]:
    """Odd training samples, or a training that did harm."""
    for finding in seen.observations.training_findings:
        yield Advisory(AdvisoryKind.SUSPECT_TRAINING, f"training: {finding}")
