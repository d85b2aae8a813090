"""A Backend, a stop rule and tensors as flags of ``benchmark_model``.

Names and defaults: the README of ``tools/benchmark`` and of ``tools/delegates`` in TensorFlow
and LiteRT.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.devices.benchmark_model.output import Asked
from harness.domain import Backend, TensorSpec
from harness.errors import AgentSetupError, UnsupportedError

#: Options of a backend -> flags.
_OPTIONS = {
    "nnapi": {
        "accelerator": "nnapi_accelerator_name",
        "execution_preference": "nnapi_execution_preference",
        "execution_priority": "nnapi_execution_priority",
        "allow_fp16": "nnapi_allow_fp16",
    },
    "gpu": {
        "allow_fp16": "gpu_precision_loss_allowed",
        "experimental_enable_quant": "gpu_experimental_enable_quant",
    },
}

#: A flag in the text of ``--help``: its name and its default.
_HELP = re.compile(r"^\s*--(?P<name>[a-z0-9_]{1,80})=", re.MULTILINE)

_PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,200}")


def backend_flags(backend: Backend) -> list[str]:
    """What selects the backend.

    ``cpu`` leaves the choice of kernels to the runtime, as the agents do: builds of today apply
    XNNPACK by themselves. ``xnnpack`` applies it explicitly, and is refused where it does not
    apply. NNAPI without a named accelerator may not use its own CPU reference.
    """
    flags = [f"--num_threads={backend.threads}"]
    if backend.accelerator == "cpu":
        return flags
    flags.append(f"--use_{backend.accelerator}=true")
    options = dict(backend.options)
    for key, flag in _OPTIONS.get(backend.accelerator, {}).items():
        if key in options:
            flags.append(f"--{flag}={options[key]}")
    if backend.accelerator == "nnapi" and "accelerator" not in options:
        flags.append("--disable_nnapi_cpu=true")
    return flags


def stop_rule(request: Mapping[str, Any]) -> Asked:
    """A latency request's minima; the first inference is one of the tool's warm-up."""
    return Asked(
        int(request.get("warmup_runs", 1)) + 1,
        float(request.get("warmup_seconds", 0.5)),
        int(request.get("min_runs", 50)),
        float(request.get("min_seconds", 1.0)),
    )


def stop_flags(asked: Asked, max_seconds: float) -> list[str]:
    """The stop rule; whatever is left out would be the tool's own default."""
    return [
        f"--warmup_runs={asked.warmup_runs}",
        f"--warmup_min_secs={_seconds(asked.warmup_seconds)}",
        f"--num_runs={asked.runs}",
        f"--min_secs={_seconds(asked.seconds)}",
        f"--max_secs={_seconds(max_seconds)}",
    ]


def input_flags(inputs: Sequence[TensorSpec], files: Sequence[str]) -> list[str]:
    """Values for every input tensor, by files that the tool's folder knows.

    The tool holds inputs against the model by their order and only warns of other names, so
    that a name with a colon or a comma, which would split the flag, is replaced.
    """
    names = [spec.name for spec in inputs]
    if len(set(names)) < len(names) or not all(_PLAIN.fullmatch(name) for name in names):
        names = [f"input{position}" for position in range(len(names))]
    shapes = ":".join(",".join(str(size) for size in spec.shape) for spec in inputs)
    values = ",".join(f"{name}:{file}" for name, file in zip(names, files, strict=True))
    return [
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={shapes}",
        f"--input_layer_value_files={values}",
    ]


def known_flags(text: str) -> frozenset[str]:
    """The names of the flags that ``--help`` lists."""
    return frozenset(_HELP.findall(text))


def refuse_unknown(unknown: Collection[str], backend: Backend, device: str) -> None:
    """Raise for flags that this build passes over: what they ask for would not happen."""
    names = [flag.removeprefix("--").split("=", 1)[0] for flag in unknown]
    if not names:
        return
    listed = ", ".join(f"--{name}"[:80] for name in names[:6])
    if f"use_{backend.accelerator}" in names:
        raise UnsupportedError(
            f"{device}: this build of benchmark_model cannot use {backend.accelerator}: "
            f"it has no {listed}",
            hint="NNAPI and Hexagon are in builds for Android only; use such a build",
        )
    raise AgentSetupError(
        f"{device}: this build of benchmark_model does not know {listed}",
        hint="use a newer build: what the flag asks for would not happen",
    )


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"
