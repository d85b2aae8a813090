"""Models of devices: what a variant costs on hardware that is not here."""

from harness.simulation.graph import Graph, Operator, read_graph
from harness.simulation.roofline import Estimate, estimate

__all__ = ["Estimate", "Graph", "Operator", "estimate", "read_graph"]
