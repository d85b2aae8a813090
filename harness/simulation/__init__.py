"""Models of devices: what a variant costs, and what maps, on hardware that is not here."""

from harness.simulation.analysis import FloatIsland, float_islands, parameters, per_tensor_weights
from harness.simulation.edgetpu import OperatorMapping, compiled, map_operators
from harness.simulation.elements import Tensor
from harness.simulation.graph import Graph, Operator, read_graph
from harness.simulation.roofline import Estimate, estimate

__all__ = [
    "Estimate",
    "FloatIsland",
    "Graph",
    "Operator",
    "OperatorMapping",
    "Tensor",
    "compiled",
    "estimate",
    "float_islands",
    "map_operators",
    "parameters",
    "per_tensor_weights",
    "read_graph",
]
