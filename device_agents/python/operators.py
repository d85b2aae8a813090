"""Times of single operators, for a runtime that has a profiler."""

from device_agents.python.failures import AgentFailure
from device_agents.python.requests import ANY, ENDLESS, WHOLE, limits
from device_agents.python.system import import_numpy
from device_agents.python.tensors import feed_first, load

#: The protocol's bound on one profile.
MAX_OPERATORS = 20000

#: Times of one profile that are sent one by one, at most.
MAX_TIMES = 1000000

STAGE = "operators"

#: What a request may say, see ``requests.limits``.
LIMITS = (
    ("warmup_runs", 1, 0, ENDLESS, WHOLE),
    ("warmup_seconds", 0.5, 0, ENDLESS, ANY),
    ("max_runs", 100000, 0, ENDLESS, WHOLE),
    ("max_seconds", 150.0, 0, ENDLESS, ANY),
)


def run_operators(request, emit, runtime, clock, system):
    """Profile; emits ``loaded``, ``operators`` and the facts of the ``done`` message.

    A runtime with a profiler has ``profiler(interpreter)``: an object with ``resolution_ns``,
    and ``events()``, those of the newest inference in the order of execution, each
    ``(name, node or None, ns, delegated)``. Raises ``AgentFailure``: ``unsupported`` without one.
    """
    asked = limits(request, STAGE, LIMITS)
    runs = request.get("runs", 50)
    if type(runs) is not int or not 1 <= runs <= 100000:
        raise AgentFailure("bad_request", STAGE, "runs is wrong")
    if runtime.profiler is None:
        raise AgentFailure(
            "unsupported",
            STAGE,
            "the Python agent cannot look into a runtime's operators",
            'the native agent can: agent = "native" in the device\'s profile',
        )
    loaded = load(request, runtime, clock, STAGE)
    emit(loaded.as_message())
    feed_first(import_numpy(), loaded, request, STAGE)
    profiler = runtime.profiler(loaded.interpreter)
    try:
        _warm_up(loaded.interpreter.invoke, clock, asked)
        found, elapsed = _profiled(loaded.interpreter.invoke, profiler, clock, runs)
    except AgentFailure:
        raise
    except Exception as error:  # whatever invoke raises
        raise AgentFailure("invoke_failed", STAGE, "invoke failed: %s" % error) from None
    each = len(found) * runs <= MAX_TIMES
    emit(
        {
            "type": "operators",
            "unit": "ns",
            "resolution_ns": profiler.resolution_ns,
            "runs": runs,
            "elapsed": elapsed,
            "operators": [
                dict(
                    {"name": name, "node": node, "graph": 0, "delegated": delegated},
                    time=sum(times),
                    calls=runs,
                    **({"times": times} if each else {}),
                )
                for name, node, times, delegated in found
            ],
        }
    )
    return {
        "memory_peak_bytes": {"end": system.peak_memory_bytes()},
        "delegated": loaded.delegated,
        "cores": system.cores(),
    }


def _warm_up(invoke, clock, asked):
    runs, begin = 0, clock.now_ns()
    if not asked["warmup_runs"] and not asked["warmup_seconds"]:
        return
    while True:
        invoke()
        runs += 1
        seconds = (clock.now_ns() - begin) * 1e-9
        if runs >= asked["warmup_runs"] and seconds >= asked["warmup_seconds"]:
            return
        if runs >= asked["max_runs"] or 0 < asked["max_seconds"] <= seconds:
            return


def _profiled(invoke, profiler, clock, runs):
    """The operators with their times in each run, and the runs' own times, all in ns."""
    found, elapsed = [], []
    for run in range(runs):
        begin = clock.now_ns()
        invoke()
        elapsed.append(clock.now_ns() - begin)
        events = profiler.events()[:MAX_OPERATORS]
        if not run:
            found = [(name, node, [], delegated) for name, node, _, delegated in events]
        if [item[:2] for item in found] != [event[:2] for event in events]:
            raise AgentFailure(
                "invoke_failed", STAGE, "run %d had other operators than the first" % (run + 1)
            )
        for item, event in zip(found, events):
            item[2].append(event[2])
    return found, elapsed
