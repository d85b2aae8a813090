"""Runs of a real store, written without a device: for what is decided from records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.config.suites import suite_to_json
from harness.domain import (
    Backend,
    Dataset,
    Device,
    DeviceKind,
    Direction,
    Gate,
    Job,
    JobStatus,
    Measurement,
    Model,
    Policy,
    Stage,
    Suite,
    TrialStatus,
)
from harness.store import Conclusion, Store
from harness.store.schema import runs

PLATFORM = {"system": "Linux", "release": "6.1", "machine": "aarch64", "temperature_c": 41.0}


@dataclass
class Cell:
    """One job of a night: what it measured (ms, share, bytes), and under what.

    ``medians`` and ``peaks`` become trials of their own (ms, bytes), ``correct`` tells which
    samples were right.
    """

    recipe: str = "float32"
    model: str = "m"
    device: str = "board"
    kind: DeviceKind = DeviceKind.REAL
    backend: str = "cpu x4"
    latency: float | None = 10.0
    spread: float | None = 0.01
    accuracy: float | None = 0.9
    samples: int = 1000
    metric: str = "top1"
    size: int | None = 1000
    memory: float | None = 30e6
    status: JobStatus = JobStatus.OK
    error: str | None = None
    variant: str = "a" * 64
    runtime: str = "litert"
    version: str = "2.0"
    facts: Mapping[str, Any] = field(default_factory=dict)
    medians: Sequence[float] = ()
    peaks: Sequence[float] = ()
    correct: Sequence[bool] = ()

    def measurements(self) -> list[Measurement]:
        """What a job of these numbers is sealed with."""
        found = []
        if self.latency is not None:
            ends = (None, None) if self.spread is None else (
                self.latency * (1 - self.spread), self.latency * (1 + self.spread)
            )  # fmt: skip
            groups = 1 if self.spread is None else 5
            found.append(
                Measurement("latency_median", self.latency, "ms", Direction.LOWER, 500, *ends,
                            groups)
            )  # fmt: skip
        if self.accuracy is not None:
            share = self.metric != "mse"
            unit, better = ("share", Direction.HIGHER) if share else ("units^2", Direction.LOWER)
            half = 0.02 * self.accuracy
            found.append(
                Measurement(self.metric, self.accuracy, unit, better, self.samples,
                            self.accuracy - half, self.accuracy + half)
            )  # fmt: skip
        if self.size is not None:
            found.append(Measurement("size", self.size, "bytes", Direction.LOWER, 1))
        if self.memory is not None:
            found.append(Measurement("memory_peak", self.memory, "bytes", Direction.LOWER, 5))
        return found


def suite_of(
    cells: Sequence[Cell], *, name: str = "nightly", gates: Sequence[Gate] = (), canary: str = "",
    policy: Policy | None = None,
) -> Suite:  # fmt: skip
    """A suite that has these cells among its own."""
    models = dict.fromkeys(cell.model for cell in cells)
    devices = {cell.device: cell.kind for cell in cells}
    return Suite(
        name=name,
        models=tuple(Model(m, f"{m}.tflite", "d", canary=m == canary) for m in models),
        datasets={"d": Dataset("d", "digits")},
        recipes=tuple(dict.fromkeys(cell.recipe for cell in cells)),
        devices=tuple(Device(d, kind, "local") for d, kind in devices.items()),
        backends=(),
        policy=policy or Policy(),
        gates=tuple(gates),
    )


def add_night(
    store: Store,
    night: int,
    cells: Sequence[Cell],
    *,
    environment: Mapping[str, Any] | None = None,
    seal: bool = True,
    **suite: Any,
) -> str:
    """Write the run of a night (from 1); returns its id."""
    run = f"2026{1 + night // 28:02d}{1 + night % 28:02d}-{suite.get('name', 'nightly')}"
    jobs = [
        Job(i, cell.model, cell.recipe, cell.device, cell.kind, Backend.parse(cell.backend))
        for i, cell in enumerate(cells)
    ]
    store.create_run(run, suite_to_json(suite_of(cells, **suite)), environment or {}, jobs)
    with store._engine.begin() as connection:
        at = f"2026-{1 + night // 28:02d}-{1 + night % 28:02d}T02:00:00.000+00:00"
        connection.execute(sa.update(runs).where(runs.c.id == run).values(created=at))
    for record, cell in zip(store.jobs(run), cells, strict=True):
        if not seal:
            continue
        ok = cell.status is JobStatus.OK
        add_trials(store, record.id, cell)
        store.seal_job(
            Conclusion(
                record.id,
                cell.status,
                Stage.DONE if ok else Stage.LATENCY,
                error=cell.error,
                variant_sha256=cell.variant,
                size_bytes=cell.size,
                runtime=cell.runtime,
                runtime_version=cell.version,
                facts={
                    "platform": PLATFORM,
                    "dataset_sha256": "d",
                    "labels_sha256": "l",
                    **cell.facts,
                },
                measurements=cell.measurements() if ok else [],
                artifacts={"correct": np.array(cell.correct, np.uint8)}
                if len(cell.correct)
                else {},
            )
        )
    store.finish_run(run, "finished")
    return run


def add_trials(store: Store, job: int, cell: Cell) -> None:
    """Trials of 21 samples each, half a per cent around their medians."""
    for index, median in enumerate(cell.medians):
        trial = store.begin_trial(job, index, "latency")
        values = (median * 1e6 * (1 + np.linspace(-0.005, 0.005, 21))).astype(np.int64)
        store.append_samples(trial, 0, "measure", np.arange(21) * 10**7, values)
        peak = cell.peaks[index] if len(cell.peaks) else 3e7
        store.end_trial(trial, TrialStatus.OK, facts={"memory_peak_bytes": {"end": peak}})
