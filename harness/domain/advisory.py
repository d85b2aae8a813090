"""Warnings that travel with a number: an enumerated cause and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AdvisoryKind(StrEnum):
    """Every advisory the harness can attach; the value is its name in all output."""

    OUTPUTS_DIFFER = "outputs_differ"
    NO_REFERENCE = "no_reference"
    REFERENCE_KERNELS = "reference_kernels"
    FEW_SAMPLES = "few_samples"
    FEW_TRIALS = "few_trials"
    NOT_PRECISE = "not_precise"
    NOT_STEADY = "not_steady"
    TRIALS_DISAGREE = "trials_disagree"
    DRIFTING = "drifting"
    TWO_MODES = "two_modes"
    OTHER_LOAD = "other_load"
    FREQUENCY_CHANGED = "frequency_changed"
    TRIALS_FAILED = "trials_failed"
    MEASUREMENT_FAILED = "measurement_failed"
    THREADS_DIFFER = "threads_differ"
    COARSE_TIMER = "coarse_timer"
    FEW_CALIBRATION_SAMPLES = "few_calibration_samples"
    SUSPECT_CALIBRATION = "suspect_calibration"
    SUSPECT_TRAINING = "suspect_training"
    NOT_READY = "not_ready"
    LOW_BATTERY = "low_battery"
    HOT = "hot"
    THROTTLED = "throttled"
    PARTIAL_DELEGATION = "partial_delegation"
    SUMMARY_ONLY = "summary_only"
    MOVED = "moved"
    ENERGY_UNKNOWN = "energy_unknown"


NEXT_STEP: dict[AdvisoryKind, str] = {
    AdvisoryKind.OUTPUTS_DIFFER: (
        "do not trust any number of this job: compare the runtime versions of host and device, "
        "and run the variant with another backend"
    ),
    AdvisoryKind.NO_REFERENCE: (
        "the host could not run this variant, so its outputs are unchecked: "
        "install a runtime on the host that knows the model's operators"
    ),
    AdvisoryKind.REFERENCE_KERNELS: (
        "the runtime has no fast kernels for this type here: do not read its latency as the "
        "recipe's; measure on the target's own runtime or choose int8"
    ),
    AdvisoryKind.FEW_SAMPLES: "raise min_runs or max_seconds in the Policy",
    AdvisoryKind.FEW_TRIALS: "raise trials to 3 or more: one process is one sample of a "
    "distribution over processes",
    AdvisoryKind.NOT_PRECISE: "differences smaller than this cannot be shown: quieten the device "
    "(fixed governor, no other load, cooldown_seconds), or raise max_trials or max_job_seconds in "
    "the Policy",
    AdvisoryKind.NOT_STEADY: "what was measured may still be of the warm-up: raise "
    "warmup_max_seconds in the Policy; if that does not end it, look at temperature, governor and "
    "other load",
    AdvisoryKind.TRIALS_DISAGREE: "look for other load, throttling or frequency changes on the "
    "device; raise trials",
    AdvisoryKind.DRIFTING: "the number is of no steady state: raise warmup_seconds where latency "
    "falls, let the device cool down (cooldown_seconds) and look for other load where it rises, "
    "then measure again",
    AdvisoryKind.TWO_MODES: "one median cannot stand for two states: pin the agent to cores of one "
    "kind (cores in the Policy), set a fixed governor, and look at the samples of both",
    AdvisoryKind.OTHER_LOAD: "end other programs on the device, or measure when it is idle; on "
    "this machine wait for builds and other runs to end",
    AdvisoryKind.FREQUENCY_CHANGED: 'set governor = "performance" in the Policy; where the '
    "device cannot hold its highest clock, give it a lower maximum",
    AdvisoryKind.MEASUREMENT_FAILED: "the job's other numbers stand: read the causes in the "
    "report, then measure this alone (measure = [...] in the Policy)",
    AdvisoryKind.TRIALS_FAILED: "read the failed trials' causes in the report",
    AdvisoryKind.THREADS_DIFFER: "the runtime did not use the threads that were asked for: "
    "compare only with records of the same number",
    AdvisoryKind.COARSE_TIMER: "differences of a few clock steps between medians mean nothing: "
    "compare such fast models by much larger ratios only",
    AdvisoryKind.SUSPECT_CALIBRATION: "calibrate on varied samples like those that are evaluated, "
    "of every class, stored in the same way",
    AdvisoryKind.SUSPECT_TRAINING: "train on samples of every class, like those that are "
    "evaluated; where it made the model worse, lower learning_rate, to a tenth for a start",
    AdvisoryKind.NOT_READY: "what the Policy asked of the device could not be done: do it by hand "
    "(harness doctor DEVICE says how), or take it out of the Policy",
    AdvisoryKind.LOW_BATTERY: "charge the device: many phones lower their clock on a weak battery",
    AdvisoryKind.HOT: "let the device cool down: set max_temperature_c or cooldown_seconds in the "
    "Policy",
    AdvisoryKind.THROTTLED: "the device lowered its clock: let it cool down (max_temperature_c, "
    "cooldown_seconds in the Policy), give a board a better power supply or a fan, measure again",
    AdvisoryKind.PARTIAL_DELEGATION: "some operators ran on the CPU: harness inspect shows which; "
    "choose a recipe whose operators the accelerator has, and compare with the CPU",
    AdvisoryKind.SUMMARY_ONLY: "the tool prints statistics of its runs and keeps no samples: for "
    "intervals over samples use the agent",
    AdvisoryKind.MOVED: "the device that the plan named was set aside: compare with records of "
    "the device named here only",
    AdvisoryKind.ENERGY_UNKNOWN: "read docs/power.md for what each meter needs; a longer "
    "energy_seconds and idle_seconds in the Policy narrow an interval",
    AdvisoryKind.FEW_CALIBRATION_SAMPLES: "give the dataset a larger calibration split",
}


@dataclass(frozen=True, slots=True)
class Advisory:
    """One warning: its kind, the evidence in words, and what to do next."""

    kind: AdvisoryKind
    evidence: str

    @property
    def next_step(self) -> str:
        """What a user does about it."""
        return NEXT_STEP[self.kind]
