"""Latency of a graph on a device that is not here, with an interval."""

from harness.simulation.prediction.hardware import (
    Core,
    CoreType,
    Hardware,
    Kernel,
    Runtime,
    hardware_of,
)
from harness.simulation.prediction.parameters import PRIORS, Parameters, Prior, prior_of
from harness.simulation.prediction.predicting import (
    OperatorTime,
    Prediction,
    Prepared,
    predict,
)

__all__ = [
    "PRIORS",
    "Core",
    "CoreType",
    "Hardware",
    "Kernel",
    "OperatorTime",
    "Parameters",
    "Prediction",
    "Prepared",
    "Prior",
    "Runtime",
    "hardware_of",
    "predict",
    "prior_of",
]
