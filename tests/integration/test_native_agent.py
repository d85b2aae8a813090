"""The native agent: how it is built, where its library comes from, and what only it does."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from device_agents.python.tensors import LACKING
from harness.devices.agents.building import (
    sources,
)
from harness.devices.session import Session
from harness.domain import Device, DeviceKind, Stage
from harness.errors import UnsupportedError
from tests.contracts.test_transports import blob
from tests.support.agent import (
    AgentProcess,
    command_of,
    exchange,
    library_over,
    newer_library,
    request,
)

LOCAL = Device("here", DeviceKind.REAL, "local", link={"agent": "native"})


@pytest.fixture(scope="module")
def command() -> list[str]:
    return command_of("native")


def with_library(command: Sequence[str], path: Path | str) -> list[str]:
    return [command[0], "--library", str(path)]


@pytest.mark.parametrize(
    ("name", "contents", "why"),
    [
        ("absent.so", None, "cannot open shared object file"),
        ("text.so", "hello" * 99, "invalid ELF header|file too short"),
        ("other.so", "int other;", "lacks .* LiteRtCreateEnvironment"),
        ("old.so", "int LiteRtCreateCpuOptions;", "2.1.2 or older"),
        ("needy.so", "extern int nowhere(void); int now(void) { return nowhere(); }", "nowhere"),
    ],
)
def test_a_library_that_cannot_be_used_is_a_problem_with_words(
    command: list[str], tmp_path: Path, name: str, contents: str | None, why: str
) -> None:
    path = tmp_path / name
    if name == "text.so":
        path.write_text(contents or "")
    elif contents is not None:
        (tmp_path / "a.c").write_text(contents)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), "a.c"], cwd=tmp_path, check=True)
    hello, error = exchange(
        {"protocol": 1, "action": "latency"}, command=with_library(command, path)
    )
    assert hello["runtime"] is None and hello["problem"] == error
    assert error["kind"] == "no_runtime" and error["hint"]
    assert re.search(why, error["message"]), error
    probed = exchange({"protocol": 1, "action": "probe"}, command=with_library(command, path))
    assert probed[-1]["type"] == "done"


def test_a_library_for_a_newer_c_library_says_which(command: list[str], tmp_path: Path) -> None:
    path = newer_library(tmp_path)
    hello = exchange({"protocol": 1, "action": "probe"}, command=with_library(command, path))[0]
    assert "GLIBC_2.99' not found" in hello["problem"]["message"]
    assert "C library no newer" in hello["problem"]["hint"]


def test_wrong_arguments_are_a_usage_error(command: list[str]) -> None:
    for arguments in ([], ["--library"], ["--colour", "red"], ["--library", "x", "--extra"]):
        done = subprocess.run([command[0], *arguments], capture_output=True, check=False)
        assert done.returncode == 2 and not done.stdout and b"usage" in done.stderr


def test_the_library_is_recorded(command: list[str], digits: dict[str, Path]) -> None:
    from harness.cache import file_sha256

    asked = request("latency", digits["int8"], digits["samples"], min_runs=1, min_seconds=0)
    hello, *_, done = exchange(asked, command=command)
    assert hello["runtime"]["name"] == "litert_c" and hello["runtime"]["version"][0].isdigit()
    assert hello["runtime"]["abi"] in ("2.1.3", "2.1.6")
    assert "LiteRtStartProfiler" in hello["runtime"]["optional"]
    assert done["facts"]["library_sha256"] == file_sha256(Path(command[2]))
    nameless = exchange(asked, command=command[:3])[0]
    assert nameless["runtime"]["version"] == "unknown"


def test_whole_delegation_is_told_and_a_part_is_not_guessed(
    command: list[str], digits: dict[str, Path]
) -> None:
    def delegated(recipe: str) -> Any:
        asked = request("latency", digits[recipe], digits["samples"], min_runs=1, min_seconds=0)
        return exchange(asked, command=command)[-1]["facts"]["delegated"]

    whole, none = delegated("float32"), delegated("int16x8")
    assert whole["accelerator"] == "xnnpack" and whole["nodes"] == whole["total"] > 0
    assert (none["accelerator"], none["nodes"]) == ("cpu", None)


def test_operators_that_the_runtime_lacks_and_states_that_it_cannot_keep(
    command: list[str], digits: dict[str, Path], shared: Path
) -> None:
    folder = shared / "models" / "coral"
    lacking = folder / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    error = exchange(request("sweep", lacking, digits["samples"]), command=command)[-1]
    assert error["kind"] == "unsupported_operator" and "edgetpu-custom-op" in error["message"]
    stateful = folder / "keras_lstm_mnist_ptq.tflite"
    error = exchange(request("sweep", stateful, digits["samples"]), command=command)[-1]
    assert error["kind"] == "unsupported" and "Python agent" in error["hint"]


def test_both_agents_know_the_same_words_for_operators_that_lack() -> None:
    listed = re.search(rb"lacking\[\] = \{(.*?), NULL\}", sources()["engine.c"], re.DOTALL)
    assert listed and tuple(re.findall(rb'"([^"]+)"', listed[1])) == tuple(
        word.encode() for word in LACKING
    )
    assert [word for word in LACKING if word != word.lower()] == []


def test_what_follows_a_request_in_memory_is_not_sent(command: list[str]) -> None:
    agent = AgentProcess(command=command, env={**os.environ, "MALLOC_PERTURB_": "165"})
    agent.say(b"{\n")
    (_, answer), _, _ = agent.rest()
    assert answer["message"] == "not a JSON line: {"


@pytest.mark.parametrize("bound", [{"max_seconds": 0.2}, {"max_runs": 5}])
def test_the_warm_up_of_operators_ends_as_that_of_latency(
    command: list[str], digits: dict[str, Path], bound: dict[str, float]
) -> None:
    begin = time.monotonic()
    asked = request("operators", digits["int8"], digits["samples"], runs=2, **bound)
    answers = exchange({**asked, "warmup_runs": 1, "warmup_seconds": 60}, command=command)
    assert answers[-1]["type"] == "done" and time.monotonic() - begin < 30


#: Does something to the first operator's event of the third run that is profiled.
THIRD_RUN = """
struct event {
    const char *tag;
    int type;
    uint64_t start, elapsed;
    size_t memory[6];
    uint64_t node, extra;
    int source;
};
int LiteRtGetProfilerEvents(void *profiler, int count, struct event *events)
{
    static int runs;
    int (*real)(void *, int, struct event *) = real_one("LiteRtGetProfilerEvents");
    int status = real(profiler, count, events);
    struct event *event = events;
    while (event->type != 2)
        event++;
    if (++runs == 3)
        CHANGE;
    return status;
}
"""


@pytest.mark.parametrize(
    "change",
    ['event->tag = "OTHER"', "event->node += 1", "event->type = 0", "event->elapsed += 1"],
)
def test_runs_with_other_operators_are_not_added_up(
    command: list[str], digits: dict[str, Path], tmp_path: Path, change: str
) -> None:
    over = library_over(command[2], tmp_path, THIRD_RUN.replace("CHANGE", change))
    asked = request("operators", digits["int16x8"], digits["samples"], runs=5, warmup_seconds=0)
    answers = exchange(asked, command=with_library(command, over))
    if "elapsed" in change:
        assert answers[-1]["type"] == "done", answers[-1]
        return
    assert [message["type"] for message in answers] == ["hello", "loaded", "error"], answers
    assert answers[-1]["kind"] == "invoke_failed" and answers[-1]["stage"] == "operators"
    assert re.search(r"run 3 had other operators .* place \d+", answers[-1]["message"])


def test_threads_of_accelerators_are_not_counted(
    command: list[str], digits: dict[str, Path], tmp_path: Path
) -> None:
    """A library that says of the CPU that it was the GPU."""
    code = """
int LiteRtSetOptionsHardwareAccelerators(void *options, int chosen)
{
    int (*real)(void *, int) = real_one("LiteRtSetOptionsHardwareAccelerators");
    return real(options, chosen == 2 ? 1 : chosen);
}
int LiteRtCompiledModelIsNonCpuFullyAccelerated(void *compiled, bool *all)
{
    return (void)compiled, *all = true, 0;
}
"""
    over = with_library(command, library_over(command[2], tmp_path, code))
    asked = request("latency", digits["int8"], digits["samples"], min_runs=1, min_seconds=0)
    for accelerator, found in (("gpu", None), ("cpu", 1)):
        done = exchange({**asked, "accelerator": accelerator}, command=over)[-1]
        assert done["type"] == "done", done
        assert done["facts"]["threads_found"] == found and done["facts"]["threads_asked"] == 1


def test_what_the_library_said_before_it_crashed_reaches_stderr(
    command: list[str], digits: dict[str, Path], tmp_path: Path
) -> None:
    code = """
int LiteRtCreateCompiledModel(void)
{
    (void)!write(2, "ERROR: its own words\\n", 21);
    abort();
}
"""
    agent = AgentProcess(command=with_library(command, library_over(command[2], tmp_path, code)))
    agent.say(request("sweep", digits["int8"], digits["samples"]))
    (_, answer), code_, stderr = agent.rest()
    assert (answer["kind"], code_) == ("bad_model", 1) and "crashed" in answer["message"]
    assert "ERROR: its own words" in stderr


def test_stderr_still_has_what_the_library_says(
    command: list[str], digits: dict[str, Path]
) -> None:
    agent = AgentProcess(command=command)
    agent.say(request("latency", digits["float32"], digits["samples"], min_runs=1, min_seconds=0))
    _, code, stderr = agent.rest()
    assert code == 0 and "XNNPACK delegate" in stderr


def test_a_session_pushes_and_starts_it(digits: dict[str, Path], tmp_path: Path) -> None:
    link = {"agent": "native", "work_dir": str(tmp_path / "it's $(here)")}
    device = Device("here", DeviceKind.REAL, "local", link=link)
    model, samples = blob(digits["int8"]), blob(digits["samples"])
    heard: list[dict[str, Any]] = []
    with Session(device, "test") as session:
        assert session.push([model, samples], lambda *_: None) > 1e6
        assert session.push([model, samples], lambda *_: None) == 0
        asked = {
            "model": {"path": session.path(model)}, "samples": {"path": session.path(samples)},
            "id": "x",
        }  # fmt: skip
        answer = session.ask(
            {**asked, "action": "operators", "runs": 3, "warmup_seconds": 0},
            lambda message, _: heard.append(message), purpose=Stage.LATENCY, silence=60,
        )  # fmt: skip
        assert [message["type"] for message in heard] == ["operators"]
        assert answer.hello["runtime"]["name"] == "litert_c"
        assert answer.hello["platform"]["executable"].startswith(str(tmp_path))
        with pytest.raises(UnsupportedError, match="gpu"):
            session.ask({**asked, "action": "latency", "accelerator": "gpu"}, lambda *_: None,
                        purpose=Stage.LATENCY, silence=60)  # fmt: skip


def test_the_command_builds_it(
    cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = cli("agent", "build", "-o", "agent")
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([str(tmp_path / "agent")], capture_output=True, check=False)
    assert ran.returncode == 2 and b"usage" in ran.stderr
    wrong = cli("agent", "build", "--target", "linux-arm46", "-o", "agent")
    assert wrong.returncode == 2 and "linux-arm64" in wrong.stderr
    nowhere = cli("agent", "build", "-o", "no/such/folder/agent")
    assert nowhere.returncode == 2 and "no folder" in nowhere.stderr
