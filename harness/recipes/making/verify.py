"""Loading a variant once, in a process of its own, for what only a runtime can tell.

    python -m harness.recipes.making.verify < request.json

A file that crashes the runtime crashes this process, not the orchestrator. The answer
holds the tensors, and the reference outputs that every device's are compared with; the
inputs are prepared by the host's own preprocessing, not by the agent's.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def verify(request: dict[str, Any]) -> dict[str, Any]:
    """Load ``variant``, run ``count`` of ``samples``, keep outputs of each in ``out``.

    ``output`` says which, ``None`` all of them in one row. The first samples; with ``spread``
    evenly over all, and only as many as ``max_bytes`` and ``max_seconds`` allow.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from harness.datasets import spread
    from harness.domain import Preprocessing, TensorSpec
    from harness.models.preprocess import fits, to_tensor

    # Another order of float sums is no matter where outputs are compared with other variants'.
    threads = (os.cpu_count() or 1) if request.get("spread") else 1
    interpreter = Interpreter(model_path=request["variant"], num_threads=threads)
    interpreter.allocate_tensors()

    def specs(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                "name": str(detail["name"]),
                "shape": [int(size) for size in detail["shape"]],
                "dtype": np.dtype(detail["dtype"]).name,
                "scale": float(detail["quantization"][0]),
                "zero_point": int(detail["quantization"][1]),
            }
            for detail in details
        ]

    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    answer: dict[str, Any] = {"inputs": specs(inputs), "outputs": specs(outputs)}
    samples = np.load(request["samples"], mmap_mode="r", allow_pickle=False)
    spec = TensorSpec(**{**answer["inputs"][0], "shape": tuple(answer["inputs"][0]["shape"])})
    wanted = request.get("output", 0)
    if (
        len(inputs) != 1
        or (wanted or 0) >= len(outputs)
        or not fits(samples.shape[1:], spec.shape[1:])
    ):
        return {**answer, "reference": False}
    preprocessing = Preprocessing(**request["preprocessing"])

    def run(place: int) -> Any:
        row = to_tensor(np.asarray(samples[place : place + 1]), preprocessing, spec)
        if request["stateful"]:
            interpreter.reset_all_variables()
        interpreter.set_tensor(inputs[0]["index"], row)
        interpreter.invoke()
        if wanted is None:
            parts = [interpreter.get_tensor(output["index"]).ravel() for output in outputs]
            return np.concatenate(parts)
        found = interpreter.get_tensor(outputs[wanted]["index"])
        return found[0] if found.ndim else found

    first = run(0)
    count = min(request["count"], len(samples))
    places = range(count)
    if request.get("spread"):
        begin = time.monotonic()
        run(0)
        seconds = max(time.monotonic() - begin, 1e-6)
        affordable = min(request["max_bytes"] / first.nbytes, request["max_seconds"] / seconds)
        places = spread(len(samples), max(1, min(count, int(affordable)))).tolist()
    kept = np.lib.format.open_memmap(
        request["out"], mode="w+", dtype=first.dtype, shape=(len(places), *first.shape)
    )
    for row, place in enumerate(places):
        kept[row] = run(place)
    kept.flush()
    return {**answer, "reference": True}


def main() -> None:
    """Answer the one request on stdin with one JSON line on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"ok": True, **verify(request)}
    except Exception as error:  # the bindings raise ValueError, RuntimeError, TypeError, ...
        Path(request["out"]).unlink(missing_ok=True)
        answer = {"ok": False, "error": str(error)[:2000] or type(error).__name__}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
