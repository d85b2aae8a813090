"""Queries as a user would send them: MLPerf's scenarios; raw latencies only.

A query is answered when the samples it names have been written into the input, one after the
other, and the model has run on each. PROTOCOL.md says when each latency begins.
"""

import array

from device_agents.python import garbage, loadgen
from device_agents.python.arrivals import arrivals
from device_agents.python.failures import AgentFailure
from device_agents.python.system import import_numpy
from device_agents.python.tensors import Preprocessor, open_samples
from device_agents.python.trial import Trial

SCENARIOS = ("single_stream", "multi_stream", "offline", "server")

#: Queries (samples, offline) of one request, at most.
MAX_QUERIES = 1000 * 1000

#: Samples are sent in bunches: at most this many in a message, where queries leave time at
#: most this often.
FLUSH_SAMPLES = 8192
FLUSH_NS = 500 * 1000 * 1000

#: Between two arrivals something is sent only where the wait is longer than that.
LEISURE_NS = 20 * 1000 * 1000

#: While nothing else is sent, a word at least this often.
PROGRESS_NS = 1000 * 1000 * 1000


def run_scenario(request, emit, runtime, clock, system):
    """Answer queries; emits ``loaded``, ``samples`` and returns the facts of ``done``."""
    numpy = import_numpy()
    asked = _asked(request)
    trial = Trial(request, system)
    loaded = trial.load(runtime, clock, "latency", emit)
    stored = open_samples(numpy, request, "scenario")
    count = request.get("count", len(stored))
    if type(count) is not int or not 0 < count <= len(stored):
        raise _bad("count %r of %d samples" % (count, len(stored)))
    if asked["loadgen"]:
        loadgen.check(asked, clock)
    engine = _Engine(numpy, loaded, numpy.array(stored[:count]), request)
    record = Record(emit, clock)
    garbage.hold(clock)
    try:
        facts = _answer(asked, engine, record, clock, emit)
    except AgentFailure:
        raise
    except Exception as error:  # whatever invoke raises
        record.flush()
        raise AgentFailure("invoke_failed", "scenario", "invoke failed: %s" % error) from None
    finally:
        garbage.let_go(clock)
    record.flush()
    trial.count_threads()
    facts.update(trial.end(), scenario=asked["scenario"], samples=count)
    return facts


def _answer(asked, engine, record, clock, emit):
    """The first inference, the warm-up, and the scenario itself."""
    record.phase("first")
    _time_one(engine, record, clock)
    record.flush()
    durations = _warm_up(asked, engine, record, clock)
    record.flush()
    if asked["loadgen"]:
        return loadgen.run(asked, engine.answer, engine.count, durations, emit)
    if asked["scenario"] == "server":
        return _server(asked, engine, record, clock)
    if asked["scenario"] == "offline":
        return _offline(asked, engine, record, clock)
    one = 1 if asked["scenario"] == "single_stream" else asked["samples_per_query"]
    return _stream(asked, one, engine, record, clock)


def _time_one(engine, record, clock):
    start = clock.now_ns()
    engine.answer(0)
    stop = clock.now_ns()
    record.add(start, stop - start)
    return stop - start


def _warm_up(asked, engine, record, clock):
    """Answers until both minima are reached; returns how long each took, ns."""
    durations = []
    begin = clock.now_ns()
    enough, deadline = _later(begin, asked["warmup_seconds"]), _later(begin, asked["max_seconds"])
    record.phase("warmup")
    while (
        (len(durations) < asked["warmup_runs"] or clock.now_ns() < enough)
        and clock.now_ns() < deadline
        and len(durations) < MAX_QUERIES
    ):
        durations.append(_time_one(engine, record, clock))
        record.flush_now_and_then()
    return durations


def _stream(asked, one, engine, record, clock):
    """A query of ``one`` samples as soon as the one before was answered."""
    now, answer, count = clock.now_ns, engine.answer, engine.count
    record.phase("query")
    begin = start = now()  # one reading, or the queries would span less than was asked for
    enough, deadline = _later(begin, asked["min_seconds"]), _later(begin, asked["max_seconds"])
    queries = sample = 0
    while True:
        for _ in range(one):
            answer(sample)
            sample = sample + 1 if sample + 1 < count else 0
        stop = now()
        record.add(start, stop - start)
        queries += 1
        reason = _end(asked, queries, start >= enough, stop >= deadline)
        if reason:
            return _facts(queries, reason, stop - begin)
        record.flush_now_and_then()
        start = now()


def _offline(asked, engine, record, clock):
    """One query of as many samples as both minima need; each is timed since the query."""
    now, answer, count = clock.now_ns, engine.answer, engine.count
    record.phase("query")
    begin = now()
    enough, deadline = _later(begin, asked["min_seconds"]), _later(begin, asked["max_seconds"])
    samples = 0
    while True:
        answer(samples % count)
        stop = now()
        record.add(begin, stop - begin)
        samples += 1
        reason = _end(asked, samples, stop >= enough, stop >= deadline)
        if reason:
            return _facts(samples, reason, stop - begin)
        record.tell_progress(stop)


def _server(asked, engine, record, clock):
    """Queries of one sample at times drawn from the seed, answered in order of arrival.

    Latencies count from the arrival, so the time in the queue is in them.
    """
    now, answer, count = clock.now_ns, engine.answer, engine.count
    schedule = arrivals(asked["seed"], asked["target_qps"])
    begin = now()
    deadline = _later(begin, asked["max_seconds"])
    for queries, offset in enumerate(schedule, 1):
        arrival = begin + offset
        if not _wait(arrival, deadline, record, clock):
            return _facts(queries - 1, "max_seconds", now() - begin, 0)
        start = now()
        answer((queries - 1) % count)
        stop = now()
        record.phase("query").add(arrival, stop - arrival)
        record.phase("service").add(start, stop - start)
        reason = _end(asked, queries, offset >= _ns(asked["min_seconds"]), stop >= deadline)
        if reason:
            waiting = _waiting(asked, schedule, queries, offset, stop - begin)
            return _facts(queries, reason, stop - begin, waiting)
        record.tell_progress(stop)
    return None  # not reached: the schedule has no end


def _waiting(asked, schedule, queries, last, elapsed):
    """How many of the queries that were to be answered have arrived and were not."""
    found = 0
    for offset in schedule:
        total = queries + found
        ended = _end(asked, total, last >= _ns(asked["min_seconds"]), False)
        if ended or offset > elapsed:
            break
        found, last = found + 1, offset
    return found


def _wait(arrival, deadline, record, clock):
    """Until a query arrives, sending what there is time for; False where time is up before."""
    while True:
        left = arrival - clock.now_ns()
        if left <= 0:
            return True
        if arrival > deadline:
            return False
        if left > LEISURE_NS:
            record.flush_now_and_then(1024)
            record.tell_progress(clock.now_ns())
        clock.sleep_until(min(arrival, clock.now_ns() + PROGRESS_NS // 2))


def _end(asked, queries, long_enough, late):
    """What ends the queries; nothing where they go on."""
    if queries >= asked["min_queries"] and long_enough:
        return "enough"
    if queries >= MAX_QUERIES:
        return "max_queries"
    return "max_seconds" if late else ""


def _facts(queries, reason, elapsed, waiting=None):
    facts = {"queries": queries, "stopped_by": reason, "elapsed_ns": elapsed}
    if waiting is not None:
        facts["waiting"] = waiting
    return facts


class _Engine:
    """Answers with one interpreter; samples are in memory, as stored, before any timing."""

    def __init__(self, numpy, loaded, samples, request):
        self.count = len(samples)
        self._samples = samples
        first, others = loaded.inputs[0], loaded.inputs[1:]
        self._prepare = Preprocessor(
            numpy, first, samples, request.get("preprocessing"), "scenario"
        )
        self._view = loaded.interpreter.tensor(first["index"])
        self._invoke = loaded.interpreter.invoke
        try:
            for detail in others:
                zeros = numpy.zeros(detail["shape"], dtype=detail["dtype"])
                loaded.interpreter.set_tensor(detail["index"], zeros)
        except (RuntimeError, ValueError) as error:
            raise AgentFailure(
                "invoke_failed", "scenario", "an input cannot be written: %s" % error
            ) from None

    def answer(self, sample):
        """Write one sample into the input and run the model."""
        # Straight into the tensor; no view of it may be left when invoke begins.
        self._prepare.fill(self._view(), self._samples[sample : sample + 1])
        self._invoke()


class _Series:
    def __init__(self, phase):
        self.phase = phase
        self.starts = array.array("q")
        self.durations = array.array("q")
        self.sent = 0

    def add(self, start, duration):
        self.starts.append(start)
        self.durations.append(duration)


class Record:
    """Keeps what was timed, and sends it between queries."""

    def __init__(self, emit, clock):
        self._emit = emit
        self._clock = clock
        self._origin = clock.now_ns()
        self._flushed = self._told = self._origin
        self._series = {}
        self._current = None

    def phase(self, name):
        """What is added from now on is of this phase."""
        if name not in self._series:
            self._series[name] = _Series(name)
        self._current = self._series[name]
        return self._current

    def add(self, start, duration):
        """One sample of the current phase, ns."""
        self._current.add(start, duration)

    def flush_now_and_then(self, most=FLUSH_SAMPLES):
        """Send what there is, at most ``most`` of a phase, if that was not done just now."""
        now = self._clock.now_ns()
        if now - self._flushed >= FLUSH_NS:
            for series in self._series.values():
                self._send(series, most)
            self._flushed = self._clock.now_ns()

    def flush(self):
        """Send all that was not sent yet."""
        for series in self._series.values():
            while series.sent < len(series.starts):
                self._send(series, FLUSH_SAMPLES)

    def tell_progress(self, now):
        """A word that the agent lives, where nothing else was said for long."""
        if now - self._told >= PROGRESS_NS:
            self._told = now
            self._emit({"type": "progress"})

    def _send(self, series, most):
        end = min(len(series.starts), series.sent + most)
        if end > series.sent:
            origin, part = self._origin, slice(series.sent, end)
            self._emit(
                {
                    "type": "samples",
                    "phase": series.phase,
                    "unit": "ns",
                    "at": [start - origin for start in series.starts[part]],
                    "values": series.durations[part].tolist(),
                }
            )
            series.sent = end
            self._told = self._clock.now_ns()


def _ns(seconds):
    return int(seconds * 1e9)


def _later(begin, seconds):
    return begin + _ns(seconds)


def _bad(message, hint=""):
    return AgentFailure("bad_request", "scenario", message, hint)


def _asked(request):
    """The request's own keys, checked."""
    scenario = request.get("scenario")
    if not isinstance(scenario, str) or scenario not in SCENARIOS:
        raise _bad("scenario is wrong: %r" % (scenario,), "one of " + ", ".join(SCENARIOS))
    asked = {"scenario": scenario}
    numbers = (int, float)
    for name, default, kinds, low, high in (
        ("samples_per_query", 8, (int,), 1, 1024),
        ("target_qps", None, numbers, 1e-3, 1e6),
        ("latency_bound_ms", None, numbers, 1e-6, 1e6),
        ("warmup_runs", 1, (int,), 0, MAX_QUERIES),
        ("warmup_seconds", 0.5, numbers, 0, 86400),
        ("min_seconds", 2.0, numbers, 0, 86400),
        ("min_queries", 100, (int,), 1, MAX_QUERIES),
        ("max_seconds", 60.0, numbers, 1e-3, 86400),
        ("seed", 0, (int,), 0, 2**62),
    ):
        value = request.get(name, default)
        if value is None and name not in request and scenario != "server":
            continue
        if type(value) not in kinds or not low <= value <= high:
            raise _bad(
                "%s is wrong: %r" % (name, value),
                "%s is %s, %.7g to %.7g"
                % (name, "a whole number" if kinds == (int,) else "a number", low, high),
            )
        asked[name] = value
    asked["loadgen"] = request.get("loadgen", False)
    if type(asked["loadgen"]) is not bool:
        raise _bad("loadgen is wrong: %r" % (asked["loadgen"],))
    return asked
