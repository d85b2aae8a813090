"""The nouns of the project as frozen dataclasses; standard library only.

``Model``, ``Recipe``, ``Variant``, ``Dataset``, ``Device``, ``Backend``, ``Policy``, ``Suite``,
``Job``, ``Measurement``, ``Gate`` and ``Advisory`` mean the same thing everywhere in the code,
the documentation and the output.
"""

from harness.domain.advisory import Advisory, AdvisoryKind
from harness.domain.backend import Backend
from harness.domain.check import Check, Mark
from harness.domain.device import Device, DeviceKind, Fence
from harness.domain.fault import Fault, FaultKind
from harness.domain.gate import Answer, Gate
from harness.domain.job import Job, JobStatus, Stage, TrialStatus
from harness.domain.measurement import Direction, Measurement
from harness.domain.model import Dataset, Model, Preprocessing, Task
from harness.domain.policy import Policy
from harness.domain.scenario import Scenario
from harness.domain.suite import Suite
from harness.domain.variant import TensorSpec, Variant
from harness.domain.verdict import Outcome, Verdict

__all__ = [
    "Advisory",
    "AdvisoryKind",
    "Answer",
    "Backend",
    "Check",
    "Dataset",
    "Device",
    "DeviceKind",
    "Direction",
    "Fault",
    "FaultKind",
    "Fence",
    "Gate",
    "Job",
    "JobStatus",
    "Mark",
    "Measurement",
    "Model",
    "Outcome",
    "Policy",
    "Preprocessing",
    "Scenario",
    "Stage",
    "Suite",
    "Task",
    "TensorSpec",
    "TrialStatus",
    "Variant",
    "Verdict",
]
