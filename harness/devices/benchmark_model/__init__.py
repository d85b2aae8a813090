"""TensorFlow's ``benchmark_model`` tool in the place of an agent.

For what agents cannot drive: NNAPI, Hexagon, the GPU delegate, XNNPACK explicitly. The user
brings the binary. Each request is answered by one or more processes of the tool, and with what
an agent would have answered as far as the tool tells it: statistics instead of samples.
"""

from harness.devices.benchmark_model.runner import BenchmarkModel
from harness.devices.benchmark_model.tool import find_tool

__all__ = ["BenchmarkModel", "find_tool"]
