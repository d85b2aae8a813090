"""A request as the native agent reads it, under sanitizers; both agents take or refuse it alike."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from device_agents.python import agent, requests, wire
from device_agents.python.failures import AgentFailure
from fuzz.places import folder
from fuzz.target import Target
from fuzz.targets import agent_requests
from harness.devices.agents.building import LIBRARIES, write_sources

_FLAGS = (
    "-std=c11",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)


@cache
def _program() -> str:
    code = write_sources(folder())
    made = folder() / "agent"
    compiler = shutil.which("gcc") or shutil.which("cc") or "cc"
    # As a file of its own, the sanitizers' library would have to be found at the first place.
    subprocess.run(
        [compiler, *_FLAGS, "-static-libasan", "-o", str(made), str(code), *LIBRARIES], check=True
    )
    return str(made)


@cache
def _library() -> str:
    import ai_edge_litert

    return str(next(iter(Path(ai_edge_litert.__file__).parent.rglob("libLiteRt.so")), "nowhere"))


def _answer(line: bytes, library: str) -> list[dict[str, Any]]:
    """What it says to one line; its stdin stays open, as a host's does."""
    process = subprocess.Popen(
        [_program(), "--library", library],
        cwd=folder(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:hard_rss_limit_mb=1024"},
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        try:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        said = [wire.decode(part) for part in process.stdout]
        stderr = process.stderr.read()
        code = process.wait(10)
    finally:
        process.kill()
        process.communicate()
    assert code in (0, 1), (code, stderr[-3000:])
    assert b"runtime error" not in stderr, stderr[-3000:]
    return said


def _run(data: bytes) -> None:
    line = data.split(b"\n")[0]
    # Few, as the runtime takes its time to be loaded.
    whole = sum(line) % 16 == 0
    said = _answer(line, _library() if whole else "nowhere")
    assert said[0]["type"] == "hello"
    last = said[-1]
    kind = last.get("kind") if last["type"] == "error" else "done"
    try:
        request = requests.parse(line + b"\n")
    except AgentFailure as failure:
        assert kind == "bad_request", (failure.as_message(), last)
        return
    action = request.get("action")
    if action == "probe":
        assert kind == "done", last
    elif not isinstance(action, str) or action not in agent.ACTIONS:
        assert kind == "bad_request", last
    elif not whole:
        assert kind == "no_runtime", last


def _seeds() -> Sequence[bytes]:
    # Paths of nothing: what is asked is what is tried here, not the runtime.
    requests_ = [seed.replace(b"m.tflite", b"none") for seed in agent_requests.TARGET.seeds()]
    odd = [
        b"",
        b"{}",
        b"[]",
        b'{"protocol":1}',
        b'{"protocol":1,"action":"probe","id":null}',
        b'{"protocol":1.0,"action":"probe"}',
        b'{"protocol":1,"action":"probe","id":"\\ud83d\\ude00"}',
        b'{"protocol":1,"protocol":1,"action":"latency","action":"probe","a":[[[]]],"b":-0.5e-3}',
        b' \t{"protocol" : 1 , "action" : "probe" , "x":{"y":[true,false,null,"\\u00e9\\n"]}}\r',
        '{"protocol":1,"action":"probe","id":"é漢😀"}'.encode(),
    ]
    return [*odd, *requests_]


TARGET = Target(
    _run,
    _seeds,
    kind="json",
    allowed=(),
    covered=False,
    limited=False,
    max_bytes=4096,
    tokens=(
        b'"\\u0000"',
        b'"\\ud800"',
        b"1e400",
        b"1E+2",
        b"-",
        b"\\",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"[" * 40,
        b'"probe"',
        b"\xef\xbb\xbf",
    ),
)
