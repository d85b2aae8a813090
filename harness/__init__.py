"""Convert, deploy, measure and compare quantized TensorFlow Lite models on edge devices.

import harness

result = harness.run("suite.toml")
result.table()                      # a pandas DataFrame
harness.load("last").table()
harness.inspect("model.tflite").as_dict()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import RunResult, inspect, load, run

__version__ = "0.1.0"

__all__ = ["RunResult", "__version__", "inspect", "load", "run"]


def __getattr__(name: str) -> Any:
    # Importing the package stays cheap: the command line must answer --help at once.
    if name in ("RunResult", "inspect", "load", "run"):
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
