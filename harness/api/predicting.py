"""Predicted latencies: of a model, against a table, calibrated."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cache import expanded
from harness.calibration.naming import FOREIGN, Devices, Unreadable
from harness.calibration.validation import Validation
from harness.calibration.validation import cross_validate as _cross_validate
from harness.calibration.validation import validate as _validate
from harness.config.prediction import PredictionData, prediction_data
from harness.domain import Backend
from harness.errors import ModelError, UsageError
from harness.simulation import read_graph
from harness.simulation.elements import Graph
from harness.simulation.prediction import Hardware, Prediction, Runtime
from harness.simulation.prediction import predict as _predict

if TYPE_CHECKING:
    from harness.calibration.calibrating import Calibration
    from harness.calibration.own import OwnFit
    from harness.store import Store

Tell = Callable[[str], None]

#: What a runtime in words says of itself.
_OURS = re.compile(
    r"tflite|tf lite|tensorflow|litert|xnnpack|runtime|android"
    r"|\b(?:32|64)[- ]?bit\b|armv7|armhf|arm32"
)


def predict(
    model: str | Path,
    device: str,
    backend: str | Backend = "",
    *,
    dtype: str = "",
    input_size: int | None = None,
    runtime: str = "",
) -> Prediction:
    """The latency of one inference, with its interval, in milliseconds.

    ``model`` is a ``.tflite`` file or a published architecture by name, built in ``dtype``
    (``float32``, ``int8``, ``uint8``; by default what the backend is made for) at ``input_size``
    (its published one by default).
    ``runtime`` is free text, as ``TFLite 2.5 CPU, 32-bit OS``; by default a present LiteRT on a
    64-bit system. Raises ``UsageError`` and ``ModelError`` for what is unknown, and
    ``UnsupportedError`` for what cannot run there.
    """
    data = prediction_data()
    data.refuse_broken(device)
    devices = Devices(data)
    if device in devices.hardware:
        hardware = devices.hardware[device]
    else:
        try:
            hardware = devices.named(device)
        except Unreadable as error:
            if not str(error).startswith("no profile, and no known cores"):
                raise UsageError(str(error), hint="harness devices lists the profiles") from None
            data.table(device)
            raise AssertionError from None
    chosen = backend if isinstance(backend, Backend) else _backend(backend, hardware)
    graph, words = _graph(model, dtype, _usual(chosen), input_size)
    found = _predict(graph, hardware, chosen, _runtime(runtime), devices.parameters(), data.spreads)
    return replace(found, model=words)


def _usual(backend: Backend) -> str:
    """The type that an accelerator is made for; an Edge TPU takes no other."""
    return "int8" if backend.accelerator in ("edgetpu", "npu") else "float32"


def _backend(text: str, hardware: Hardware) -> Backend:
    if not text:
        cpu = Backend("cpu", min(4, hardware.threads))
        return Backend("edgetpu") if hardware.edgetpu is not None else cpu
    try:
        backend = Backend.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if backend.options:
        raise UsageError(
            f"{text}: options of a backend are not modelled",
            hint=f"write {Backend(backend.accelerator, backend.threads)}",
        )
    return backend


def _runtime(text: str) -> Runtime:
    low = text.lower()
    if text.strip() and (FOREIGN.search(low) or not _OURS.search(low)):
        raise UsageError(
            f"unknown runtime {text[:80]!r}",
            hint="it is TensorFlow Lite: write 'TFLite 2.5, 32-bit OS', 'LiteRT 2' or 'XNNPACK'",
        )
    return Runtime.parse(text)


def _graph(model: str | Path, asked: str, usual: str, input_size: int | None) -> tuple[Graph, str]:
    """The graph, and in words what it is of."""
    from harness.simulation import architectures

    path = expanded(model)
    dtype = asked or usual
    if _is_file(path) and (asked or input_size is not None):
        raise UsageError(
            f"{path.name} has its own types and sizes",
            hint="--dtype and --input-size are of architectures by name",
        )
    if _is_file(path):
        return read_graph(path), path.name
    if str(model).endswith(".tflite") or "/" in str(model):
        raise UsageError(f"there is no file {model}")
    if dtype not in ("float32", "int8", "uint8"):
        raise UsageError(f"unknown type {dtype!r}", hint="known: float32, int8, uint8")
    found = architectures.find(str(model))
    if found is None:
        raise UsageError(
            f"no file and no published architecture is called {str(model)[:100]!r}",
            hint=_alike(str(model), architectures.names()),
        )
    shape = None
    if input_size is not None:
        if not 8 <= input_size <= 4096:
            raise UsageError(f"an input of {input_size} pixels is none", hint="8 to 4096")
        shape = (1, input_size, input_size, found.input_shape[-1])
    try:
        size = "" if input_size is None else f", {input_size} x {input_size}"
        return found.graph(dtype, shape), f"{found.name}, {dtype}{size}"
    except ValueError as error:
        raise ModelError(f"{found.name}: {error}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for one
        return False


def _alike(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(near)}?"
    families = dict.fromkeys(each.split("_")[0] for each in known)
    return f"{len(known)} are known, of the families {', '.join(families)}"


def validate(table: str | Path, *, without: str = "", tell: Tell = lambda text: None) -> Validation:
    """Hold predictions against a CSV table of published latencies.

    ``without="model"`` predicts each row by a fit that has not seen its model, ``"family"`` by one
    that has not seen a relation of it either: a minute or two. Raises ``UsageError`` for a file
    that is no such table.
    """
    path = expanded(table)
    if without not in ("", "model", "family"):
        raise UsageError(f"without = {without!r}", hint="known: model, family")
    _tell_broken(prediction_data(), tell)
    if not without:
        return _validate(path)
    return _cross_validate(path, tell, families=without == "family")


def _tell_broken(data: PredictionData, tell: Tell) -> None:
    for line in data.warnings():
        tell(line)


def calibrate(table: str | Path, *, tell: Tell = lambda text: None) -> Calibration:
    """Fit the predictor's parameters to a table. Raises ``UsageError``.

    Nothing is written: ``harness.calibration.writing`` has the profiles' new text.
    """
    from harness.calibration.calibrating import calibrate as run
    from harness.calibration.cases import cases_of
    from harness.calibration.table import read_table

    path = expanded(table)
    data = prediction_data()
    _tell_broken(data, tell)
    cases = cases_of(read_table(path), Devices(data, fitted=False))
    if not any(case.ok for case in cases):
        raise UsageError(
            f"{path}: no row can be predicted", hint=f"harness validate {path} says why of each"
        )
    return run(cases, tell=tell)


def calibrate_device(
    run: str,
    device: str,
    *,
    like: str | None = None,
    simulated: bool = False,
    store: str | Store | None = None,
) -> OwnFit:
    """Fit a device's own factors to what a run measured on it.

    ``like`` is the profile or board with its parts, by default its own profile; ``simulated``
    also takes what was modelled, not measured. Raises ``UsageError``, ``StoreError``.
    """
    from harness.api.runs import load
    from harness.calibration.own import calibrate_own, cases_of_run
    from harness.store import DEFAULT_STORE

    records = load(run, store=store or DEFAULT_STORE).view.jobs
    devices = Devices(prediction_data())
    cases = cases_of_run(records, devices, device, like or device, simulated=simulated)
    return calibrate_own(cases, devices.parameters(), device)
