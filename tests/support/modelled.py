"""Each agent on a clock that only inferences move, by as much as a test says."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device_agents.python import agent
from device_agents.python.runtimes import find_runtime
from device_agents.python.system import System
from tests.support.agent import AgentProcess, library_over

#: What one reading of the clock takes, ns.
TICK_NS = 1000

#: In front of LiteRT's own library, and preloaded: the agent's clock and its inferences.
_NATIVE = """
#include <stdio.h>
#include <time.h>
static int64_t now = 1000000000, step, durations[1 << 20];
static size_t count, done;
__attribute__((constructor)) static void begin(void)
{
    FILE *file = fopen(getenv("MODELLED_DURATIONS"), "rb");
    count = fread(durations, sizeof *durations, 1 << 20, file);
    fclose(file);
    step = atoll(getenv("MODELLED_STEP"));
}
int clock_gettime(clockid_t clock, struct timespec *time)
{
    int64_t shown = (now += 1000) / step * step;
    (void)clock;
    time->tv_sec = shown / 1000000000;
    time->tv_nsec = shown % 1000000000;
    return 0;
}
int LiteRtRunCompiledModel(void)
{
    now += durations[done < count ? done++ : count - 1];
    return 0;
}
"""


def exchange_modelled(
    name: str,
    command: Sequence[str],
    request: dict[str, Any],
    durations: Sequence[float],
    folder: Path,
    step: int = 1,
) -> list[dict[str, Any]]:
    """What the agent ``name`` answers where inferences take ``durations``, ns, the last for ever.

    The clock shows multiples of ``step``, ns.
    """  # fmt: skip
    given = np.asarray(durations, np.int64)
    if name == "native":
        return _native(command, request, given, folder, step)
    return _python(request, given, step)


def _native(
    command: Sequence[str], request: dict[str, Any], durations: np.typing.NDArray[np.int64],
    folder: Path, step: int,
) -> list[dict[str, Any]]:  # fmt: skip
    real = command[command.index("--library") + 1]
    library = library_over(real, folder, _NATIVE)
    durations.tofile(folder / "durations")
    changed = [str(library) if part == real else part for part in command]
    process = AgentProcess(
        command=changed,
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "MODELLED_DURATIONS": str(folder / "durations"),
            "MODELLED_STEP": str(step),
        },
    )
    process.say(request)
    messages, _, stderr = process.rest()
    assert messages, stderr
    return messages


class _Clock:
    name = "modelled"

    def __init__(self, step: int) -> None:
        self.now, self._step = 1_000_000_000, step

    def now_ns(self) -> int:
        self.now += TICK_NS
        return self.now // self._step * self._step

    def resolution_ns(self) -> int:
        return max(TICK_NS, self._step)


class _Interpreter:
    def __init__(self, real: Any, clock: _Clock, durations: np.typing.NDArray[np.int64]) -> None:
        self._real, self._clock, self._durations, self._done = real, clock, durations.tolist(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def invoke(self) -> None:
        self._clock.now += self._durations[min(self._done, len(self._durations) - 1)]
        self._done += 1


class _Runtime:
    def __init__(self, clock: _Clock, durations: np.typing.NDArray[np.int64]) -> None:
        self._real, self._clock, self._durations = find_runtime(), clock, durations

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def interpreter(self, *arguments: Any) -> Any:
        return _Interpreter(self._real.interpreter(*arguments), self._clock, self._durations)


def _python(
    request: dict[str, Any], durations: np.typing.NDArray[np.int64], step: int
) -> list[dict[str, Any]]:
    clock, sent = _Clock(step), bytearray()
    line = json.dumps(request).encode() + b"\n"
    agent.serve(
        lambda: line, sent.extend, clock, System(), find=lambda _wanted: _Runtime(clock, durations)
    )
    return [json.loads(text) for text in sent.splitlines()]
