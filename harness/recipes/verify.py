"""Loading a variant once, in a process of its own, for what only a runtime can tell.

    python -m harness.recipes.verify < request.json

A file that crashes the runtime crashes this process, not the orchestrator. The answer
holds the tensors, and the reference outputs that every device's are compared with; the
inputs are prepared by the host's own preprocessing, not by the agent's.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def verify(request: dict[str, Any]) -> dict[str, Any]:
    """Load ``variant``, run the first ``count`` of ``samples``, keep outputs in ``out``."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from harness.domain import Preprocessing, TensorSpec
    from harness.models.preprocess import fits, to_tensor

    interpreter = Interpreter(model_path=request["variant"], num_threads=1)
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
    if len(inputs) != 1 or not fits(samples.shape[1:], spec.shape[1:]):
        return {**answer, "reference": False}
    prepared = to_tensor(
        np.asarray(samples[: request["count"]]), Preprocessing(**request["preprocessing"]), spec
    )
    rows = []
    for row in prepared:
        if request["stateful"]:
            interpreter.reset_all_variables()
        interpreter.set_tensor(inputs[0]["index"], row[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(outputs[0]["index"])[0])
    with open(request["out"], "wb") as stream:
        np.save(stream, np.stack(rows))
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
