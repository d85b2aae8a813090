"""How to measure."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from harness.domain.scenario import Scenario
from harness.errors import UsageError

_GOVERNOR = re.compile(r"[a-z_]{0,32}")
#: What may be measured of a job beside ``latency`` and ``accuracy``.
PASSES: tuple[str, ...] = ("operators", "scenarios", "sustained", "energy")

#: Scenarios of one job, at most.
MAX_SCENARIOS = 16

#: What decides how many trials there are, unless told otherwise.
_TRIALS, _MOST_TRIALS, _PRECISION = 7, 30, 0.01

_CORES = re.compile(r"(big|little|\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*)?")


@dataclass(frozen=True, slots=True)
class Policy:
    """Warm-up, stop rule, trials, time-outs, retries.

    Times are in seconds. A latency trial warms up for at least ``warmup_runs`` and
    ``warmup_seconds``, and on until it is steady within ``steady_within`` (a share; 0: no
    test) or has taken ``warmup_max_seconds``; PROTOCOL.md has the rule. It then measures at
    least ``min_runs`` and ``min_seconds``, and ends in any case at ``max_seconds`` or
    ``max_runs``.

    ``trials`` fresh agent processes are measured per job, and further ones until the 95 %
    interval of the median latency is at most ``precision`` (a share; 0: exactly ``trials``) to
    either side, but no more than ``max_trials``, and none that would likely end after the job's
    trials took ``max_job_seconds``. Who names ``trials`` wants so many: ``max_trials`` left
    open (0) is 30 beside the default of ``trials``, or where ``precision`` is not the default;
    else it is ``trials``.

    ``silence_timeout`` is how long an agent may say nothing,
    ``busy_timeout`` how long to wait for a device that another session holds, and for this
    machine's processors.
    ``output_checks`` samples are compared with the host's reference, and up to
    ``agreement_samples`` with the float32 variant of the same model (0: none). Where
    ``operators`` are measured too, ``operator_runs`` inferences are profiled. A conversion
    is ended after ``convert_timeout`` without a sign of life, or when it uses more than
    ``convert_memory_gb`` (0: three quarters of the host's memory).

    Readiness, before each trial, where the device tells: wait up to ``ready_timeout`` until it
    is below ``max_temperature_c`` (0: any) and, on a battery, charged to
    ``min_battery_percent``; set the frequency ``governor`` (empty: leave it) and restore it
    after the session; pin the agent to ``cores`` (empty: all; otherwise ``big``, ``little`` or
    a list such as ``4-7``). A device whose jobs fail ``give_up_after`` times in a row is set
    aside for the rest of the run (0: never); with ``move_jobs`` its jobs go to a device of the
    same kind and accelerators in the suite, where there is one.

    ``scenarios`` are the texts of those that are run where ``measure`` has ``scenarios``, see
    ``Scenario``.

    With ``sustained`` in ``measure`` a job runs for ``sustained_minutes`` without a pause, with
    ``energy`` it rests for ``idle_seconds`` and runs for ``energy_seconds`` with a power meter on.
    """

    trials: int = _TRIALS
    precision: float = _PRECISION
    max_trials: int = 0
    max_job_seconds: float = 600.0
    warmup_runs: int = 1
    warmup_seconds: float = 0.5
    warmup_max_seconds: float = 5.0
    steady_within: float = 0.01
    min_runs: int = 50
    min_seconds: float = 1.0
    max_seconds: float = 150.0
    max_runs: int = 100_000
    cooldown_seconds: float = 0.0
    silence_timeout: float = 180.0
    busy_timeout: float = 600.0
    retries: int = 1
    retry_delay: float = 1.0
    output_checks: int = 16
    agreement_samples: int = 1000
    measure: tuple[str, ...] = ("latency", "accuracy")
    operator_runs: int = 50
    seed: int = 0
    convert_timeout: float = 900.0
    convert_memory_gb: float = 0.0
    ready_timeout: float = 600.0
    max_temperature_c: float = 0.0
    min_battery_percent: int = 0
    governor: str = ""
    cores: str = ""
    give_up_after: int = 3
    move_jobs: bool = False
    scenarios: tuple[str, ...] = ("single_stream", "multi_stream", "offline")
    sustained_minutes: float = 5.0
    idle_seconds: float = 10.0
    energy_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.max_trials == 0:
            open_ = self.trials == _TRIALS or self.precision != _PRECISION
            # Frozen, and this is the one setting whose default hangs on others.
            most = max(_MOST_TRIALS, self.trials) if open_ else self.trials
            object.__setattr__(self, "max_trials", most)
        for name, low, high in (
            ("trials", 1, 1000),
            ("precision", 0, 1),
            ("max_trials", 1, 1000),
            ("max_job_seconds", 1, 604_800),
            ("warmup_runs", 0, 10_000),
            ("warmup_seconds", 0, 3600),
            ("warmup_max_seconds", 0, 3600),
            ("steady_within", 0, 1),
            ("min_runs", 1, 1_000_000),
            ("min_seconds", 0, 3600),
            ("max_seconds", 0.01, 86_400),
            ("max_runs", 1, 1_000_000),
            ("cooldown_seconds", 0, 3600),
            ("silence_timeout", 1, 86_400),
            ("busy_timeout", 0, 86_400),
            ("retries", 0, 10),
            ("retry_delay", 0, 600),
            ("output_checks", 1, 1000),
            ("agreement_samples", 0, 100_000),
            ("operator_runs", 1, 100_000),
            ("seed", 0, 1 << 62),
            ("convert_timeout", 1, 604_800),
            ("convert_memory_gb", 0, 65_536),
            ("ready_timeout", 0, 86_400),
            ("max_temperature_c", 0, 150),
            ("min_battery_percent", 0, 100),
            ("give_up_after", 0, 1000),
            ("sustained_minutes", 0.01, 1440),
            ("idle_seconds", 1, 3600),
            ("energy_seconds", 1, 86_400),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {value}")
        if self.trials > self.max_trials:
            raise ValueError(f"trials ({self.trials}) is above max_trials ({self.max_trials})")
        if self.min_runs > self.max_runs:
            raise ValueError(f"min_runs ({self.min_runs}) is above max_runs ({self.max_runs})")
        if self.min_seconds > self.max_seconds:
            raise ValueError(
                f"min_seconds ({self.min_seconds}) is above max_seconds ({self.max_seconds})"
            )
        if not _GOVERNOR.fullmatch(self.governor):
            raise ValueError(f"{self.governor!r} is not the name of a governor")
        if not _CORES.fullmatch(self.cores):
            raise ValueError(
                f"cores is 'big', 'little' or a list such as '0,4-7', not {self.cores!r}"
            )
        known = ("latency", "accuracy", *PASSES)
        if set(self.measure) - set(known) or not self.measure:
            raise ValueError(f"measure takes one or more of {', '.join(known)}")
        self._check_scenarios()

    def _check_scenarios(self) -> None:
        try:
            texts = [Scenario.parse(text).text for text in self.scenarios]
        except UsageError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise ValueError(f"scenarios has one that is wrong: {error.message}{hint}") from None
        if not 1 <= len(texts) <= MAX_SCENARIOS or len(set(texts)) < len(texts):
            raise ValueError(f"scenarios takes 1 to {MAX_SCENARIOS} different ones")

    @property
    def adapts(self) -> bool:
        """Whether a job may get more than ``trials`` trials."""
        return self.precision > 0 and self.max_trials > self.trials

    def lighter_than_default(self) -> tuple[str, ...]:
        """The settings that make this Policy weaker than the default, as ``name=value``."""
        default = Policy()
        lower = {
            name
            for name in (
                "trials",
                "warmup_runs",
                "warmup_seconds",
                "min_runs",
                "min_seconds",
                "max_seconds",
                "max_runs",
            )
            if getattr(self, name) < getattr(default, name)
        }
        if not self.steady_within or self.steady_within > default.steady_within:
            lower.add("steady_within")
        elif self.warmup_max_seconds < default.warmup_max_seconds:
            lower.add("warmup_max_seconds")
        if self.adapts:
            if self.precision > default.precision:
                lower.add("precision")
            lower |= {
                name
                for name in ("max_trials", "max_job_seconds")
                if getattr(self, name) < getattr(default, name)
            }
        elif "trials" not in lower and self.trials < default.max_trials:
            # So many whatever comes of them; fewer trials than usual are named already.
            lower.add("max_trials" if self.precision else "precision")
        return tuple(
            f"{item.name}={getattr(self, item.name):g}"
            for item in fields(self)
            if item.name in lower
        )
