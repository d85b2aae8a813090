"""Convert, deploy, measure and compare quantized TensorFlow Lite models on edge devices.

import harness

result = harness.run("suite.toml")
result.table()                      # a pandas DataFrame
harness.load("last").table()
harness.inspect("model.tflite").as_dict()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api.ab import AbResult, ab
    from harness.api.deciding import CompareResult, compare
    from harness.api.loss import Effort, debug, search
    from harness.api.nightly import check, history, recommend
    from harness.api.operators import compare_operators
    from harness.api.predicting import calibrate, calibrate_device, predict, validate
    from harness.api.runs import RunResult, load, run
    from harness.api.variants import convert, inspect, preflight

__version__ = "0.1.0"

__all__ = [
    "AbResult",
    "CompareResult",
    "Effort",
    "RunResult",
    "__version__",
    "ab",
    "calibrate",
    "calibrate_device",
    "check",
    "compare",
    "compare_operators",
    "convert",
    "debug",
    "history",
    "inspect",
    "load",
    "predict",
    "preflight",
    "recommend",
    "run",
    "search",
    "validate",
]

_PARTS = {
    "ab": ("AbResult", "ab"),
    "deciding": ("CompareResult", "compare"),
    "loss": ("Effort", "debug", "search"),
    "operators": ("compare_operators",),
    "nightly": ("check", "history", "recommend"),
    "predicting": ("calibrate", "calibrate_device", "predict", "validate"),
    "runs": ("RunResult", "load", "run"),
    "variants": ("convert", "inspect", "preflight"),
}


def __getattr__(name: str) -> Any:
    # Importing the package stays cheap: the command line must answer --help at once, and what
    # is in the cache in a moment.
    for part, names in _PARTS.items():
        if name in names:
            return getattr(importlib.import_module(f"harness.api.{part}"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
