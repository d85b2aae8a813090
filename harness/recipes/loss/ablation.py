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
    samples with the float file's class.
    """

    accuracy: float | None
    snr_db: float | None
    agreement: float | None
    size_bytes: int


def outputs(content: bytes, inputs: NDArray[np.float32], workers: int = 2) -> NDArray[np.float32]:
    """Real outputs (n, values) for real inputs (n, *shape), shared between interpreters."""
    parts = np.array_split(np.arange(len(inputs)), min(workers, len(inputs)))
    with ThreadPoolExecutor(len(parts)) as pool:
        found = pool.map(lambda part: _outputs(content, inputs[part]), parts)
    return np.concatenate(list(found))


def _outputs(content: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for sample in inputs:
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
) -> Outcome:
    """Compare a file's outputs with the float file's ``exact`` ones (n, values)."""
    made = outputs(content, inputs)
    error = float(np.sum(np.square(made.astype(np.float64) - exact)))
    signal = float(np.sum(np.square(exact, dtype=np.float64)))
    classes = exact.shape[1] > 1
    return Outcome(
        accuracy=float(np.mean(made.argmax(1) == labels))
        if labels is not None and classes
        else None,
        snr_db=float(10 * np.log10(signal / error)) if error > 0 and signal > 0 else None,
        agreement=float(np.mean(made.argmax(1) == exact.argmax(1))) if classes else None,
        size_bytes=len(content),
    )
