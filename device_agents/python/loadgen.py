"""A scenario under MLCommons' own load generator, where this Python has ``mlcommons-loadgen``.

It decides when queries are issued, times them, and says whether the result is valid; this file
only answers. See https://github.com/mlcommons/inference/tree/master/loadgen.
"""

import os
import shutil
import tempfile
import threading

from device_agents.python.failures import AgentFailure

#: It draws all queries before the test: samples of them, at most.
MAX_SAMPLES = 1000 * 1000

#: What it leaves, in lines and characters of a line, at most.
MAX_LINES = 200
MAX_LINE = 2000

#: Seconds between two words that the agent lives.
PROGRESS_SECONDS = 1.0


def _library():
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise AgentFailure(
            "unsupported",
            "scenario",
            "this device's Python has no mlcommons-loadgen: %s" % error,
            "install it there: python3 -m pip install mlcommons-loadgen; or leave loadgen out",
        ) from None
    return mlperf_loadgen


def check(asked, clock):
    """Raise ``AgentFailure`` where it cannot be used (``unsupported``), or would draw too much."""
    many = asked["min_queries"] * (
        asked["samples_per_query"] if asked["scenario"] == "multi_stream" else 1
    )
    if asked["scenario"] == "server":
        many = max(many, asked["target_qps"] * asked["min_seconds"])
    if many > MAX_SAMPLES:
        raise AgentFailure(
            "bad_request",
            "scenario",
            "loadgen would draw %.7g samples before the test, and %d are the most"
            % (many, MAX_SAMPLES),
            "lower min_seconds, min_queries or target_qps",
        )
    if not clock.real:
        raise AgentFailure(
            "unsupported",
            "scenario",
            "loadgen reads this machine's clock, and the time of a simulated device is modelled",
            "leave loadgen out, or choose a real device",
        )
    _library()


def run(asked, answer, count, warm_up, emit):
    """Run one test; returns the facts, ``loadgen`` with its summary among them.

    ``answer(sample)`` answers a query of one of ``count`` samples, ``warm_up`` has durations
    of some, ns: a hint for how many queries to draw before it begins.
    """
    library = _library()
    folder = tempfile.mkdtemp(prefix="loadgen-")
    answered = [0]
    failures = []

    def issue(queries):
        for query in queries:
            if not failures:
                try:
                    answer(query.index)
                    answered[0] += 1
                except Exception as error:  # one that crosses loadgen would end the process
                    failures.append(error)
            library.QuerySamplesComplete([library.QuerySampleResponse(query.id, 0, 0)])

    try:
        suite = library.ConstructSUT(issue, lambda: None)
        # Samples are in memory already, so there is nothing to load.
        samples = library.ConstructQSL(count, count, lambda _: None, lambda _: None)
        over = _tell_progress(emit)
        try:
            library.StartTestWithLogSettings(
                suite,
                samples,
                _settings(library, asked, warm_up),
                _logs(library, folder),
                os.path.join(folder, "audit.config"),  # not one that lies in the working folder
            )
        finally:
            over()
            library.DestroyQSL(samples)
            library.DestroySUT(suite)
        if failures:
            raise failures[0]
        lines = _read(os.path.join(folder, "mlperf_log_summary.txt"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "queries": answered[0],
        "stopped_by": "loadgen",
        "loadgen": {"version": _version(), "summary": lines},
    }


def _settings(library, asked, warm_up):
    settings = library.TestSettings()
    settings.mode = library.TestMode.PerformanceOnly
    settings.scenario = {
        "single_stream": library.TestScenario.SingleStream,
        "multi_stream": library.TestScenario.MultiStream,
        "offline": library.TestScenario.Offline,
        "server": library.TestScenario.Server,
    }[asked["scenario"]]
    settings.min_duration_ms = int(asked["min_seconds"] * 1000)
    settings.max_duration_ms = int(asked["max_seconds"] * 1000)
    settings.min_query_count = asked["min_queries"]
    settings.qsl_rng_seed = settings.sample_index_rng_seed = asked["seed"]
    settings.schedule_rng_seed = asked["seed"]
    # Queries are drawn before the test, so many that they last even if all are twice as fast as
    # the fastest so far; but not more than the most.
    one = max(1, min(warm_up) // 2 if warm_up else 1000 * 1000)
    one = max(one, 1 + int(1.2e9 * asked["min_seconds"] / MAX_SAMPLES))
    settings.single_stream_expected_latency_ns = one
    settings.single_stream_target_latency_percentile = 0.90
    settings.multi_stream_samples_per_query = asked["samples_per_query"]
    settings.multi_stream_expected_latency_ns = one * asked["samples_per_query"]
    settings.multi_stream_target_latency_percentile = 0.99
    settings.offline_expected_qps = 1e9 / (2 * one) if warm_up else 1e9 / one
    settings.server_target_latency_percentile = 0.99
    if asked["scenario"] == "server":
        settings.server_target_qps = asked["target_qps"]
        settings.server_target_latency_ns = int(asked["latency_bound_ms"] * 1e6)
    return settings


def _logs(library, folder):
    output = library.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    logs = library.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    return logs


def _tell_progress(emit):
    """Say once in a while that the agent lives, until the function that is returned is called."""
    ended = threading.Event()

    def tell():
        while not ended.wait(PROGRESS_SECONDS):
            emit({"type": "progress"})

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()

    def over():
        ended.set()
        teller.join()

    return over


def _read(path):
    try:
        with open(path, "r") as stream:
            text = stream.read(MAX_LINES * MAX_LINE)
    except OSError as error:
        raise AgentFailure(
            "invoke_failed", "scenario", "loadgen left no summary: %s" % error
        ) from None
    return [line[:MAX_LINE] for line in text.splitlines()[:MAX_LINES]]


def _version():
    try:
        from importlib import metadata

        return metadata.version("mlcommons-loadgen")
    except Exception:  # Python 3.7 has no such module
        return "unknown"
