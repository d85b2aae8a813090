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
    from harness.api import RunResult, convert, debug, inspect, load, preflight, run, search

__version__ = "0.1.0"

__all__ = [
    "RunResult",
    "__version__",
    "convert",
    "debug",
    "inspect",
    "load",
    "preflight",
    "run",
    "search",
]


def __getattr__(name: str) -> Any:
    # Importing the package stays cheap: the command line must answer --help at once.
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
