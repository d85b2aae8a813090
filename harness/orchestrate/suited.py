"""Jobs that a device cannot run by nature, told before anything is pushed."""

from __future__ import annotations

import mmap
from functools import lru_cache
from pathlib import Path

from harness.domain import DeviceKind, Job, Variant
from harness.errors import ModelError, UnsupportedError
from harness.simulation import compiled, read_graph
from harness.simulation.edgetpu import COMPILED


def unsuited(job: Job, variant: Variant) -> UnsupportedError | None:
    """Why a job can have no number under its backend's name; ``None`` where it may.

    On a real Edge TPU a variant that is not compiled would run on the CPU, and a compiled one
    cannot run without. A simulated one stands for the variant as it would be compiled, and can
    neither time nor compute one that is.
    """
    if job.kind is DeviceKind.SIMULATED:
        if not _compiled(variant.path, variant.sha256):
            return None
        return UnsupportedError(
            f"{job.device} is simulated and {job.recipe} of {job.model} is compiled for the Edge "
            "TPU: its package hides the operators that would be modelled",
            hint="give the file that it was compiled from, or int8 in place of the recipe edgetpu: "
            "a simulated Edge TPU takes it as it would be compiled",
        )
    on_tpu = job.backend.accelerator == "edgetpu"
    if on_tpu == _compiled(variant.path, variant.sha256):
        return None
    if on_tpu:
        return UnsupportedError(
            f"{job.device}: {job.recipe} is not compiled for the Edge TPU, so it would run on the "
            "CPU",
            hint="add the recipe edgetpu, or give a file that edgetpu_compiler made as a model",
        )
    return UnsupportedError(
        f"{job.device}: {job.recipe} is compiled for the Edge TPU and cannot run on {job.backend}",
        hint="choose the backend edgetpu, on a device that has one",
    )


@lru_cache(maxsize=256)
def _compiled(path: Path, _sha256: str) -> bool:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(COMPILED.encode()) < 0:
                return False
        return compiled(read_graph(path))
    except (ModelError, OSError, ValueError):  # the device will say what is wrong with it
        return False
