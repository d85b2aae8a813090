"""Calibrating one device from measurements of one's own, of a run in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log
from pathlib import Path

from harness.cache import cache_dir
from harness.calibration.cases import Case
from harness.calibration.fitting import fit, predicted_seconds
from harness.calibration.naming import Devices, Setting
from harness.calibration.table import Published
from harness.config.devices import device_files
from harness.domain import DeviceKind, JobStatus
from harness.errors import UnsupportedError, UsageError
from harness.simulation import read_graph
from harness.simulation.prediction import Hardware, Parameters, Prepared, Runtime
from harness.store.records import JobRecord

#: What a device's own factors may be where its cores are only like those that were measured.
_LOOSE = 4.0


@dataclass(frozen=True, slots=True)
class OwnFit:
    """Factors of a device, and how far predictions were and are off its measurements.

    ``before`` and ``after`` are logarithms of truth over prediction, one for each case.
    """

    device: str
    values: Mapping[str, float]
    cases: tuple[Case, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def cases_of_run(
    records: Sequence[JobRecord],
    devices: Devices,
    device: str,
    like: str,
    *,
    simulated: bool = False,
) -> tuple[Case, ...]:
    """What a run measured on a device, with the files that it ran, of this machine's cache.

    ``like`` is the profile or board whose parts the device has; ``simulated`` also takes what was
    modelled, not measured. Raises ``UsageError`` where there is nothing to calibrate with, where
    the device's own profile has other parts, and for emulated measurements.
    """
    hardware = replace(_parts(devices, device, like), name=device, calibrated=True)
    found = []
    here = [record for record in records if record.job.device == device]
    if not here:
        known = sorted({record.job.device for record in records})
        raise UsageError(f"the run has no jobs on {device}", hint="it has: " + ", ".join(known))
    if any(record.job.kind is DeviceKind.EMULATED for record in here):
        raise UsageError(f"{device} is emulated: its latency says nothing of a device")
    if not simulated and any(record.job.kind is DeviceKind.SIMULATED for record in here):
        raise UsageError(
            f"what the run has of {device} was simulated, not measured: a rehearsal, or a "
            "simulated device",
            hint="name a run on the real device, or take it all the same with --simulated",
        )
    for record in here:
        median = record.measurements.get("latency_median")
        if record.status is not JobStatus.OK or median is None or not record.variant_sha256:
            continue
        path = _file(record)
        if path is None:
            continue
        if not 0 < median.value < inf:
            raise UsageError(
                f"{record.job.label} on {device} has a median latency of {median.value:g} ms: "
                "nothing can be fitted to that",
                hint="its clock is too coarse or its time wrong; run without that variant",
            )
        runtime = _runtime(record)
        published = Published(
            number=record.id, model=record.job.model, dtype=record.job.recipe, device=device,
            soc="", backend=str(record.job.backend), threads=str(record.job.backend.threads),
            notes="", source=record.job.kind.value, input_shape=None, published_ms=median.value,
        )  # fmt: skip
        found.append(
            Case(
                published,
                record.job.recipe,
                Setting(hardware, record.job.backend, runtime),
                Prepared(read_graph(path)),
                record.job.model,
            )
        )
    if not found and not any(record.status is JobStatus.OK for record in here):
        raise UsageError(
            f"no job on {device} ended well: there is nothing to calibrate with",
            hint="harness table RUN says what each failed of",
        )
    if not found:
        raise UsageError(
            f"no job on {device} has a latency and its variant at hand",
            hint="calibrate where the run was made: variants are kept in the harness's cache",
        )
    return tuple(found)


def _runtime(record: JobRecord) -> Runtime:
    """What executed: a ``tflite_runtime`` 2.5 has other kernels than a present LiteRT."""
    machine = str((record.facts.get("platform") or {}).get("machine") or "")
    return Runtime.parse(f"{record.runtime or 'litert'} {record.runtime_version or ''} ; {machine}")


def _parts(devices: Devices, device: str, like: str) -> Hardware:
    """The parts to fit with: those of ``like``, which the device's own profile must not deny."""
    table = devices.data.table(like)
    own = devices.data.devices.get(device)
    devices.data.refuse_broken(device)
    if own is not None and like != device:
        other = sorted(
            key
            for key in ("cores", "memory_gbs", "gpu", "nnapi", "npu", "edgetpu")
            if own.get(key) != table.get(key)
        )
        if other:
            raise UsageError(
                f"the profile of {device} has a [prediction] table of its own, whose "
                f"{', '.join(other)} differ from those of {like}",
                hint="leave --like out to calibrate with its own parts, or take [prediction] out "
                f"of {device_files()[device]} to have those of {like}",
            )
    return devices.hardware[like]


def _file(record: JobRecord) -> Path | None:
    path = cache_dir("host", "variants") / f"{record.variant_sha256}.tflite"
    return path if path.is_file() else None


def calibrate_own(cases: Sequence[Case], parameters: Parameters, device: str) -> OwnFit:
    """Fit the factors that are this device's alone; all else stays as it is.

    Raises ``UsageError`` where none of the cases can be predicted.
    """
    usable: list[Case] = []
    for case in cases:
        try:
            predicted_seconds(case, parameters)
        except UnsupportedError:
            continue
        usable.append(case)
    if not usable:
        raise UsageError(f"nothing that {device} measured can be predicted on it")
    names = _names(usable, device)
    before = _residuals(usable, parameters)
    found = fit(usable, parameters.values, free=names, loosen=_LOOSE)
    own = {name: found.values[name] for name in names if name in found.values}
    return OwnFit(device, own, tuple(usable), before, found.residuals)


def _names(cases: Sequence[Case], device: str) -> list[str]:
    start = f"device.{device}"
    found = {f"{start}.cpu.float", f"{start}.cpu.int8", f"{start}.memory"}
    for case in cases:
        assert case.setting is not None
        place = case.setting.backend.accelerator
        if place in ("gpu", "nnapi", "npu"):
            found |= {f"{start}.{place}.rate", f"{start}.{place}.invoke"}
    return sorted(found)


def _residuals(cases: Sequence[Case], parameters: Parameters) -> tuple[float, ...]:
    return tuple(
        log((case.published.published_ms or 1.0) / 1e3 / predicted_seconds(case, parameters))
        for case in cases
    )


def percent(residuals: Sequence[float]) -> float:
    """The median absolute percentage error."""
    sizes = sorted(100 * abs(exp(-each) - 1) for each in residuals)
    middle = len(sizes) // 2
    return sizes[middle] if len(sizes) % 2 else (sizes[middle - 1] + sizes[middle]) / 2
