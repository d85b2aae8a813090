"""From a job's stored observations to its sealed record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.lint import TOO_FEW
from harness.domain import DeviceKind, Job, JobStatus, Policy, Stage, TrialStatus, Variant
from harness.metrics import (
    MAIN,
    METRICS,
    Observations,
    TrialObservation,
    advisories,
    confusion,
    main_measurement,
    scenarios,
)
from harness.metrics.profile import Profile
from harness.orchestrate.passes import PASSES
from harness.orchestrate.prepare import Ready
from harness.orchestrate.reducers import ARTIFACTS
from harness.orchestrate.tasks import class_ids
from harness.store import Conclusion, JobStore, TrialRecord

#: Trials that run the dataset, or a part of it.
_SWEEPS = (Stage.ACCURACY.value, Stage.CHECK.value)

#: Names of more classes than this are not kept with a job.
MOST_NAMES = 1000


def seal_failure(
    store: JobStore,
    job_id: int,
    status: JobStatus,
    stage: Stage,
    error: str,
    variant: Variant | None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """A record for a job that has no numbers: its stage and cause."""
    store.seal_job(
        Conclusion(
            job_id,
            status,
            stage,
            error=error,
            variant_sha256=variant.sha256 if variant else None,
            size_bytes=variant.size_bytes if variant else None,
            manifest=variant.manifest if variant else None,
            facts=facts,
        )
    )


def seal_success(
    store: JobStore,
    job_id: int,
    job: Job,
    ready: Ready,
    policy: Policy,
    failed_trials: int,
    *,
    facts: Mapping[str, Any],
) -> str:
    """Estimate from what the store holds, attach advisories, seal; returns a summary.

    ``facts`` are what the lane knows of the job; see ``LaneJob.noted``.
    """
    trials = [
        trial for trial in store.trials(job_id, with_samples=True) if trial.status is TrialStatus.OK
    ]
    passes = {
        name: tuple(
            TrialObservation(
                {phase: values for phase, (_, values) in trial.phases.items()},
                trial.facts,
                {phase: at for phase, (at, _) in trial.phases.items()},
            )
            for trial in trials
            if trial.purpose == name
        )
        for name in PASSES
    }
    sweeps = [trial for trial in trials if trial.purpose in _SWEEPS]
    timed = [trial for trial in trials if trial.purpose == Stage.LATENCY.value]
    newest = (timed or sweeps or trials)[-1]
    sweep_facts = sweeps[-1].facts if sweeps else {}
    runtime = newest.hello.get("runtime") or {}
    kept = store.artifacts(job_id, ARTIFACTS)
    model, truth = ready.model, ready.data.truth
    # Times and memory under an emulated processor are those of the emulator: samples are kept
    # for who looks for them, numbers are not made from them.
    emulated = job.kind is DeviceKind.EMULATED
    observations = Observations(
        policy=policy,
        size_bytes=ready.variant.size_bytes,
        trials=tuple(
            TrialObservation(
                {phase: values for phase, (_, values) in trial.phases.items()},
                trial.facts,
                {phase: at for phase, (at, _) in trial.phases.items()},
            )
            for trial in timed
            if not emulated
        ),
        passes={} if emulated else passes,
        failed_trials=failed_trials,
        failed_passes=facts.get("passes_failed") or {},
        enough={} if emulated else facts.get("enough") or {},
        labels=ready.data.labels if kept else None,
        task=model.task,
        classes=_classes(sweep_facts),
        truth={**truth, "class_ids": class_ids(model, truth)} if truth else {},
        predictions=kept.get("predictions"),
        top_classes=kept.get("top_classes"),
        errors=kept.get("errors"),
        overlaps=kept.get("overlaps"),
        pixels=kept.get("pixels"),
        detections=kept.get("detections"),
        agreement=kept.get("agreement"),
        reference=sweep_facts.get("reference"),
        reference_missing=ready.reference_missing,
        integer16_activations=bool(ready.variant.manifest.get("integer16_activations")),
        accelerator=job.backend.accelerator,
        delegated=newest.facts.get("delegated"),
        clock_resolution_ns=float((newest.hello.get("clock") or {}).get("resolution_ns") or 0),
        calibration_samples=ready.variant.manifest.get("calibration_samples"),
        calibration_findings=tuple(
            finding
            for finding in ready.variant.manifest.get("calibration_findings") or ()
            if not finding.startswith(TOO_FEW)  # has an advisory of its own
        ),
        training_findings=ready.variant.training_findings,
        peak_memory_bytes=None
        if emulated
        else (sweep_facts.get("memory_peak_bytes") or {}).get("end"),
        runtime=f"{runtime.get('name', '')} {runtime.get('version', '')}".strip(),
        moved_to=str(facts.get("ran_on") or ""),
        moved_because=str(facts.get("moved_because") or ""),
    )
    measurements = [item for measure in METRICS.values() for item in measure(observations)]
    matrix = confusion.matrix(observations)
    artifacts: dict[str, NDArray[Any]] = {} if matrix is None else {"confusion": matrix}
    for name, text in scenarios.summaries(observations).items():
        artifacts[name] = np.frombuffer(text.encode(), dtype=np.uint8)
    store.seal_job(
        Conclusion(
            job_id,
            JobStatus.OK,
            Stage.DONE,
            variant_sha256=ready.variant.sha256,
            size_bytes=ready.variant.size_bytes,
            manifest=ready.variant.manifest,
            runtime=runtime.get("name"),
            runtime_version=runtime.get("version"),
            facts={
                "platform": newest.hello.get("platform"),
                "clock": newest.hello.get("clock"),
                "agent": [newest.hello.get("agent"), newest.hello.get("agent_version")],
                "numpy": newest.hello.get("numpy"),
                "reference": sweep_facts.get("reference"),
                "threads_found": newest.facts.get("threads_found"),
                "delegated": newest.facts.get("delegated"),
                "sweep": {
                    key: sweep_facts[key]
                    for key in ("samples", "elapsed_ns", "workers", "batch")
                    if key in sweep_facts
                },
                **facts,
                "lease": newest.facts.get("lease"),
                "task": model.task.value,
                "classes": _class_names(ready) if matrix is not None else [],
                "agreement_missing": ready.float_missing,
                **(
                    {"scenarios": answered} if (answered := scenarios.results(observations)) else {}
                ),
                **_operators(trials, facts.get("passes_failed") or {}),
                "power_meter": next(
                    (trial.facts.get("power_meter") for trial in passes.get("energy", ())), None
                ),
            },
            measurements=measurements,
            advisories=advisories(observations),
            artifacts={**artifacts, **_correct(observations)},
        )
    )
    found = {item.name: item for item in measurements}
    parts = []
    accuracy = main_measurement(found)
    if accuracy is not None:
        form = ".4g" if accuracy.name == "mse" else ".4f"
        parts.append(f"{MAIN[accuracy.name]} {accuracy.value:{form}}")
    if "latency_median" in found:
        parts.append(f"median {found['latency_median'].value:.4g} ms")
    return ", ".join(parts) or "done"


def _correct(observations: Observations) -> dict[str, NDArray[Any]]:
    """Which samples were classified right: what a paired comparison of two jobs rests on."""
    predictions, labels = observations.predictions, observations.labels
    if predictions is None or labels is None:
        return {}
    return {"correct": (predictions == labels).astype(np.uint8)}


def _operators(trials: Sequence[TrialRecord], failed: Mapping[str, str]) -> dict[str, Any]:
    """What a comparison says of a profile; all of it is with the trial."""
    found = [trial.facts for trial in trials if trial.purpose == Stage.OPERATORS.value]
    if not found:
        why = failed.get(Stage.OPERATORS.value)
        return {"operators": {"unsupported": why}} if why else {}
    if "operators" not in found[-1]:
        return {"operators": {"unsupported": found[-1].get("unsupported")}}
    return {"operators": Profile.from_json(found[-1]["operators"]).summary()}


def _classes(sweep_facts: Mapping[str, Any]) -> int:
    """Classes of a classification; a single output tells two apart."""
    width = int(sweep_facts.get("width") or 0)
    return 2 if width == 1 else width


def _class_names(ready: Ready) -> list[str]:
    """What rows and columns of a confusion matrix are called, where that is known."""
    return list(ready.model.labels or ready.data.class_names)[:MOST_NAMES]
