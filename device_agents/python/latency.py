"""One latency trial: first inference, warm-up, timed invokes; raw samples only."""

from device_agents.python import garbage
from device_agents.python.failures import AgentFailure
from device_agents.python.requests import ANY, ENDLESS, WHOLE, limits
from device_agents.python.system import import_numpy
from device_agents.python.tensors import feed_first
from device_agents.python.trial import Trial
from device_agents.python.warmup import Steadiness

#: Samples are sent between invokes, in bunches: at most this many, or this often.
FLUSH_SAMPLES = 8192
FLUSH_NS = 500 * 1000 * 1000

#: What a request may say, see ``requests.limits``.
LIMITS = (
    ("warmup_runs", 1, 0, ENDLESS, WHOLE),
    ("warmup_seconds", 0.5, 0, ENDLESS, ANY),
    ("warmup_max_seconds", 5.0, 0, ENDLESS, ANY),
    ("steady_within", 0, 0, ENDLESS, ANY),
    ("min_runs", 50, 0, ENDLESS, WHOLE),
    ("min_seconds", 1.0, 0, ENDLESS, ANY),
    ("max_runs", 100000, 0, ENDLESS, WHOLE),
    ("max_seconds", 150.0, 0, ENDLESS, ANY),
)


def run_latency(request, emit, runtime, clock, system):
    """Measure; emits ``loaded``, ``samples`` and the facts of the ``done`` message."""
    numpy = import_numpy()
    asked = limits(request, "latency", LIMITS)
    trial = Trial(request, system)
    loaded = trial.load(runtime, clock, "latency", emit)
    interpreter = loaded.interpreter
    feed_first(numpy, loaded, request, "latency")
    recorder = _Recorder(emit, clock)
    garbage.hold(clock)
    try:
        recorder.measure("first", interpreter.invoke, 1, 0, 1, 0)
        trial.count_threads()
        warmup = _warm_up(recorder, interpreter.invoke, asked, clock)
        before = recorder.conditions(system)
        reason = recorder.measure(
            "measure",
            interpreter.invoke,
            asked["min_runs"],
            asked["min_seconds"],
            asked["max_runs"],
            asked["max_seconds"],
        )
        after = recorder.conditions(system)
    except AgentFailure:
        raise
    except Exception as error:  # whatever invoke raises
        recorder.flush()
        raise AgentFailure("invoke_failed", "latency", "invoke failed: %s" % error) from None
    finally:
        garbage.let_go(clock)
    facts = trial.end()
    facts.update(
        {
            "stopped_by": reason,
            "warmup": warmup,
            "memory_resident_bytes": trial.resident,
            "conditions": {"before": before, "after": after},
        }
    )
    return facts


def _warm_up(recorder, invoke, asked, clock):
    """Up to the minima and on until it is steady, or a bound; the fact ``warmup``."""
    runs, seconds = asked["warmup_runs"], asked["warmup_seconds"]
    if not runs and not seconds:
        return {"steady": None, "runs": 0, "reason": "minimum"}
    steadiness = None
    if asked["steady_within"]:
        steadiness = Steadiness(asked["steady_within"], clock.resolution_ns())
    reason = recorder.measure(
        "warmup",
        invoke,
        runs,
        seconds,
        max(runs, asked["max_runs"]),
        asked["max_seconds"],
        steadiness,
        asked["warmup_max_seconds"],
    )
    return {
        "steady": steadiness.found() if steadiness else None,
        "runs": recorder.runs,
        "reason": "minimum" if reason == "enough" else reason,
    }


class _Recorder:
    """Times invokes and sends what it timed; nothing but ``invoke`` is inside the timed section."""

    def __init__(self, emit, clock):
        self._emit = emit
        self._clock = clock
        self._origin = clock.now_ns()
        self._phase = ""
        self.runs = 0
        self._starts = []
        self._durations = []

    def measure(
        self,
        phase,
        invoke,
        min_runs,
        min_seconds,
        max_runs,
        max_seconds,
        steadiness=None,
        steady_seconds=0,
    ):
        """Invoke until both minima are reached, or a maximum is; says which ended it.

        With ``steadiness`` it goes on after the minima until that is reached, but not beyond
        ``steady_seconds`` since the phase began. ``runs`` has the number of invokes then.
        """
        self._phase = phase
        now = self._clock.now_ns
        starts, durations = self._starts, self._durations
        begin = flushed = now()
        enough = _later(begin, min_seconds)
        deadline = _later(begin, max_seconds) if max_seconds else None
        patience = _later(begin, steady_seconds)
        runs = 0
        reason = "enough"
        while True:
            start = now()
            invoke()
            stop = now()
            starts.append(start)
            durations.append(stop - start)
            runs += 1
            if steadiness is not None:
                steadiness.add(stop - start)
            if runs >= min_runs and stop >= enough:
                if steadiness is None:
                    break
                if steadiness.reached():
                    reason = "steady"
                    break
                if stop >= patience:
                    reason = "max_seconds"
                    break
            if runs >= max_runs:
                reason = "max_runs"
                break
            if deadline is not None and stop >= deadline:
                reason = "max_seconds"
                break
            if stop - flushed >= FLUSH_NS or len(durations) >= FLUSH_SAMPLES:
                self.flush()
                flushed = now()
        self.flush()
        self.runs = runs
        return reason

    def conditions(self, system):
        """How the machine is now: between two phases, never inside of one."""
        at = self._clock.now_ns() - self._origin
        return dict(system.conditions(), at=at)

    def flush(self):
        """Send what has been recorded since the last time."""
        if self._durations:
            origin = self._origin
            self._emit(
                {
                    "type": "samples",
                    "phase": self._phase,
                    "unit": "ns",
                    "at": [start - origin for start in self._starts],
                    "values": self._durations,
                }
            )
            del self._starts[:]
            del self._durations[:]


def _later(begin, seconds):
    return begin + int(min(seconds, 4e9) * 1e9)  # 4e9 s is never; more may be no integer
