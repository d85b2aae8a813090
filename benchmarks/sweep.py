"""Accuracy sweep against a plain set_tensor, invoke, get_tensor loop."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import Line, ask_agent, ratios, shared

#: From stored images to outputs, as the agent does; or, with "before", with all inputs
#: prepared before the clock starts, while the agent's time includes preparing them.
PLAIN = """
import sys, time, numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
detail, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
images, index, dtype = np.load(sys.argv[2]), detail["index"], detail["dtype"]
scale, zero_point = detail["quantization"]
def prepare(block):
    if dtype == np.int8:
        block = np.clip(np.rint(block / np.float32(scale)) + zero_point, -128, 127)
    return block.astype(dtype)
if sys.argv[3] == "before":
    images, prepare = prepare(images), lambda block: block
outputs = []
begin = time.perf_counter_ns()
for at in range(len(images)):
    interpreter.set_tensor(index, prepare(images[at : at + 1]))
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(out))
print(time.perf_counter_ns() - begin)
"""


def agent_time(model: Path, samples: Path, workers: int = 1) -> float:
    """The agent's evaluation time of all samples, ns."""
    request = {"protocol": 1, "action": "sweep", "model": {"path": str(model)},
               "samples": {"path": str(samples)}, "threads": 1, "workers": workers}  # fmt: skip
    return float(ask_agent(request)[-1]["facts"]["elapsed_ns"])


def plain_time(model: Path, samples: Path, prepared: str = "on the way") -> float:
    """The plain loop's time, ns."""
    command = [sys.executable, "-c", PLAIN, str(model), str(samples), prepared]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def run(rounds: int) -> Iterator[Line]:
    """Evaluation of 5,000 images, one thread, over a plain loop; then all processors."""
    folder = shared()
    with tempfile.TemporaryDirectory() as work:
        samples = Path(work) / "samples.npy"
        np.save(samples, np.load(folder / "data" / "cifar10_jpeg_test.npz")["images"])
        for name in ("ic_resnet8_float", "ic_resnet8_int8"):
            model = folder / "models" / "mlperf_tiny" / f"{name}.tflite"
            ours, plain, before, both = [], [], [], []
            for index in range(rounds):
                if index % 2:
                    ours.append(agent_time(model, samples))
                plain.append(plain_time(model, samples))
                before.append(plain_time(model, samples, "before"))
                if not index % 2:
                    ours.append(agent_time(model, samples))
                both.append(agent_time(model, samples, workers=2))
            yield Line(f"{name}, agent / plain loop", ratios(ours, plain), 0, 1.0)
            # Not the same work: shown, and bounded only against a slip.
            yield Line(f"{name}, agent / loop on prepared inputs", ratios(ours, before), 0, 1.1)
            yield Line(f"{name}, agent on 2 processors / plain", ratios(both, plain), 0, 0.75)
