"""The agent's main: say hello, read one request, answer it, end.

    python3 agent.pyz [--runtime NAME]

One process serves one request, so every trial starts fresh. See PROTOCOL.md.
"""

import os
import sys
import threading
import traceback

from device_agents.python import requests, wire
from device_agents.python.failures import AgentFailure, memory_short, out_of_memory
from device_agents.python.latency import run_latency
from device_agents.python.operators import run_operators
from device_agents.python.runtimes import find_runtime
from device_agents.python.scenario import run_scenario
from device_agents.python.sustained import run_sustained
from device_agents.python.sweep import run_sweep
from device_agents.python.system import Clock, System, import_numpy

AGENT_VERSION = "1"


ACTIONS = {
    "latency": run_latency,
    "sweep": run_sweep,
    "scenario": run_scenario,
    "operators": run_operators,
    "sustained": run_sustained,
}


def serve(read_line, write, clock, system, find=find_runtime, wanted=None, actions=ACTIONS):
    """Serve one request. ``read_line()`` gives bytes, ``write(bytes)`` sends them.

    The simulated transport calls this with a modelled clock, system and runtime, and with
    ``actions`` of which some are shared by many devices.
    Returns the exit code: 0 after ``done``, 1 after ``error``.
    """
    emit = _emitter(write)
    try:
        runtime, problem = find(wanted), None
    except AgentFailure as failure:
        runtime, problem = None, failure
    emit(
        {
            "type": "hello",
            "protocol": wire.PROTOCOL_VERSION,
            "agent": "python",
            "agent_version": AGENT_VERSION,
            "platform": system.describe(),
            "clock": {"name": clock.name, "resolution_ns": clock.resolution_ns()},
            "runtime": runtime and {"name": runtime.name, "version": runtime.version},
            "numpy": _numpy_version(),
            "problem": problem and problem.as_message(),
        }
    )
    try:
        request = requests.parse(read_line())
        action = request.get("action")
        if action == "probe":
            emit({"type": "done", "id": request.get("id"), "facts": {}})
            return 0
        if not isinstance(action, str) or action not in actions:
            raise AgentFailure(
                "bad_request",
                "start",
                "unknown action %r" % (action,),
                "this agent knows: probe, " + ", ".join(sorted(actions)),
            )
        if problem is not None:
            raise problem
        cores = request.get("cores")
        if cores is not None:
            system.keep_to(_checked(cores))
        facts = actions[action](request, emit, runtime, clock, system)
        emit({"type": "done", "id": request.get("id"), "facts": facts})
        return 0
    except AgentFailure as failure:
        emit((memory_short(failure) or failure).as_message())
    except MemoryError:
        emit(out_of_memory("load").as_message())
    except BrokenPipeError:
        pass
    return 1


def _emitter(write):
    def emit(message):
        write(wire.encode(message))

    return emit


def _checked(cores):
    good = (
        isinstance(cores, list)
        and len(cores) >= 1
        and all(type(core) is int and 0 <= core < 1024 for core in cores)
    )
    if not good:
        raise AgentFailure("bad_request", "start", "cores is wrong: %r" % (cores,))
    return cores


def _numpy_version():
    try:
        return import_numpy().__version__
    except AgentFailure:
        return None


def main():
    """Reserve stdout for the protocol, then serve one request from stdin."""
    protocol_fd = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    stdin = os.fdopen(os.dup(0), "rb", 0)
    buffered = os.fdopen(protocol_fd, "wb", 0)

    def read_line():
        line = bytearray()
        while not line.endswith(b"\n") and len(line) <= wire.MAX_LINE_BYTES:
            chunk = stdin.read(1 << 16)
            if not chunk:
                break
            line += chunk[: chunk.find(b"\n") + 1 or None]
        _end_with_host(stdin)
        return bytes(line)

    def write(data):
        view = memoryview(data)
        while view:
            view = view[buffered.write(view) :]

    wanted = sys.argv[2] if sys.argv[1:2] == ["--runtime"] and len(sys.argv) > 2 else None
    try:
        code = serve(read_line, write, Clock(), System(), wanted=wanted)
    except BrokenPipeError:
        code = 1
    except Exception as error:  # a defect of this agent: an answer too, and the rest for stderr
        traceback.print_exc()
        said = "the agent cannot answer this: %s: %s" % (type(error).__name__, error)
        write(wire.encode(AgentFailure("bad_request", "start", said).as_message()))
        code = 1
    sys.stdout.flush()
    os._exit(code)  # no destructor of a runtime can turn a finished answer into a crash


def _end_with_host(stdin):
    """End this process when the host closes stdin: a cut link leaves no orphan behind."""

    def watch():
        try:
            while stdin.read(4096):
                pass
        except (OSError, ValueError):
            pass
        os._exit(3)

    threading.Thread(target=watch, name="watch-host", daemon=True).start()


if __name__ == "__main__":
    main()
