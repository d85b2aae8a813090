"""Minutes under load: what the machine does to a model that never pauses.

A fast model runs millions of times in minutes. What is kept of an interval is thinned evenly:
every ``stride``-th duration, the stride doubled each time ``2 * trace_samples`` are kept. So an
interval has at most that many, spread over the whole of it, each one a raw duration at its own
time, and ``runs`` says how many inferences it really had. Statistics of an interval instead would
need sorting between inferences, and nobody could look behind them.
"""

from device_agents.python import garbage
from device_agents.python.failures import AgentFailure
from device_agents.python.requests import ANY, WHOLE, limits
from device_agents.python.system import import_numpy
from device_agents.python.tensors import feed_first
from device_agents.python.trial import Trial

MAX_TRACE_SAMPLES = 4096

#: What a request may say, see ``requests.limits``.
LIMITS = (
    ("seconds", 300.0, 0.01, 86400, ANY),
    ("idle_seconds", 0.0, 0, 3600, ANY),
    ("trace_seconds", 1.0, 0.01, 60, ANY),
    ("trace_samples", 200, 1, MAX_TRACE_SAMPLES, WHOLE),
)


def run_sustained(request, emit, runtime, clock, system):
    """Rest for ``idle_seconds``, then infer for ``seconds``; see PROTOCOL.md."""
    numpy = import_numpy()
    asked = limits(request, "sustained", LIMITS)
    trial = Trial(request, system)
    loaded = trial.load(runtime, clock, "sustained", emit)
    invoke = loaded.interpreter.invoke
    feed_first(numpy, loaded, request, "sustained")
    trace = _Trace(emit, clock, system, asked["trace_samples"])
    garbage.hold(clock)
    try:
        trace.read()
        if asked["idle_seconds"]:
            trace.rest(asked["idle_seconds"], asked["trace_seconds"])
        before = dict(system.conditions(), at=trace.now())
        start = clock.now_ns()
        invoke()
        stop = clock.now_ns()
        trace.send("first", "ns", [(start, stop - start)])
        trial.count_threads()
        trace.load(invoke, asked["seconds"], asked["trace_seconds"])
        after = dict(system.conditions(), at=trace.now())
    except AgentFailure:
        raise
    except Exception as error:  # whatever invoke raises
        raise AgentFailure("invoke_failed", "sustained", "invoke failed: %s" % error) from None
    finally:
        garbage.let_go(clock)
    facts = trial.end()
    facts.update(
        {
            "memory_resident_bytes": trial.resident,
            "conditions": {"before": before, "after": after},
        }
    )
    return facts


class _Trace:
    """Sends what each interval brought; nothing but ``invoke`` is inside the timed section."""

    def __init__(self, emit, clock, system, samples):
        self._emit = emit
        self._clock = clock
        self._sensors = system.sensors()
        self._samples = samples
        self._origin = clock.now_ns()

    def now(self):
        """Nanoseconds since the origin."""
        return self._clock.now_ns() - self._origin

    def read(self):
        """What the sensors say now, between two intervals."""
        at = self._clock.now_ns()
        for phase, unit, value in self._sensors.read():
            self.send(phase, unit, [(at, value)])

    def send(self, phase, unit, pairs):
        """Send ``(time, value)`` pairs."""
        origin = self._origin
        self._emit(
            {
                "type": "samples",
                "phase": phase,
                "unit": unit,
                "at": [at - origin for at, _ in pairs],
                "values": [value for _, value in pairs],
            }
        )

    def rest(self, seconds, interval):
        """Do nothing but look at the sensors."""
        end = self._clock.now_ns() + int(seconds * 1e9)
        while True:
            start = self._clock.now_ns()
            if start >= end:
                return
            self._clock.sleep(min(interval, (end - start) / 1e9))
            self.send("idle", "ns", [(start, self._clock.now_ns() - start)])
            self.read()

    def load(self, invoke, seconds, interval):
        """Infer without a pause but for the sensors, until the time is over."""
        now = self._clock.now_ns
        end = now() + int(seconds * 1e9)
        most = 2 * self._samples
        length = int(interval * 1e9)
        while True:
            begin = now()
            if begin >= end:
                return
            enough = min(begin + length, end)
            kept = []
            mask = runs = 0
            while True:
                start = now()
                invoke()
                stop = now()
                if not runs & mask:
                    kept.append((start, stop - start))
                    if len(kept) == most:
                        del kept[1::2]
                        mask = 2 * mask + 1
                runs += 1
                if stop >= enough:
                    break
            self.send("sustained", "ns", kept)
            self.send("interval", "ns", [(begin, stop - begin)])
            self.send("runs", "count", [(begin, runs)])
            self.read()
