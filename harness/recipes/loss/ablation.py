"""What keeping one operator in float does to the outputs and to the accuracy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.recipes.loss.local import dequantize, quantize


@dataclass(frozen=True, slots=True)
class Outcome:
    """A file's outputs on the evaluation samples, judged.

    ``accuracy`` is top-1 (``None`` without labels), ``snr_db`` the float outputs' power over
    the power of the difference (``None`` for equal outputs), ``agreement`` the share of
    samples with the float file's class (``None`` where a single value need not be one).
    Samples whose outputs are not all ``finite`` have no class, and count as wrong.
    """

    accuracy: float | None
    snr_db: float | None
    agreement: float | None
    size_bytes: int
    finite: bool = True


def outputs(
    content: bytes, inputs: NDArray[np.float32], output: int = 0, workers: int = 2
) -> NDArray[np.float32]:
    """Real values (n, values) of an output for real inputs (n, *shape), by some interpreters."""
    parts = np.array_split(np.arange(len(inputs)), min(workers, len(inputs)))
    with ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(lambda part: _outputs(content, inputs[part], output), parts)
    return np.concatenate(list(found))


def _outputs(content: bytes, inputs: NDArray[np.float32], output: int) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[output]
    rows = []
    for sample in inputs:
        interpreter.reset_all_variables()  # samples are strangers, as runs have them
        interpreter.set_tensor(
            entry["index"], quantize(sample[None], entry).reshape(entry["shape"])
        )
        interpreter.invoke()
        rows.append(dequantize(interpreter.get_tensor(end["index"]), end).reshape(-1))
    return np.asarray(rows, dtype=np.float32)


def judge(
    content: bytes,
    inputs: NDArray[np.float32],
    labels: NDArray[Any] | None,
    exact: NDArray[np.float32],
    output: int = 0,
) -> Outcome:
    """Compare a file's outputs with the float file's ``exact`` ones (n, values), all finite."""
    made = outputs(content, inputs, output)
    valid = np.isfinite(made).all(axis=1)
    finite = bool(valid.all())
    error = float(np.sum(np.square(made.astype(np.float64) - exact))) if finite else 0.0
    signal = float(np.sum(np.square(exact, dtype=np.float64)))
    classes, exact_classes = _classes(made), _classes(exact)
    # Without labels a single value may be anything.
    some = labels is not None or exact.shape[1] > 1
    return Outcome(
        accuracy=None if labels is None else float(np.mean(valid & (classes == labels))),
        snr_db=float(10 * np.log10(signal / error)) if error > 0 and signal > 0 else None,
        agreement=float(np.mean(valid & (classes == exact_classes))) if some else None,
        size_bytes=len(content),
        finite=finite,
    )


def _classes(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Class indices (n,), as a run has them: a single value is a yes (over 0.5) or no."""
    if values.shape[1] == 1:
        return (values[:, 0] > 0.5).astype(np.int64)
    return np.asarray(values.argmax(axis=1), dtype=np.int64)
