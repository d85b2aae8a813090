"""Every agent speaks the protocol alike: the same requests, the same answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_agents.python import wire
from harness.devices import messages as checked
from tests.support.agent import AgentProcess, exchange, request, swept
from tests.support.models import adding_model

RECIPES = ("float32", "float16", "dynamic_int8", "int8", "uint8_io", "int16x8")
QUICK = {"warmup_runs": 3, "warmup_seconds": 0, "min_runs": 20, "min_seconds": 0.02}


def both(commands: dict[str, list[str]], asked: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [exchange(asked, command=command) for command in commands.values()]


def specs(message: dict[str, Any]) -> tuple[Any, Any]:
    return message["inputs"], message["outputs"]


def test_probe(agent: list[str], name: str) -> None:
    hello, done = exchange({"protocol": 1, "action": "probe", "id": 'a"\u00e9'}, command=agent)
    assert done == {"type": "done", "id": 'a"\u00e9', "facts": {}}
    assert checked.check_hello(hello, "here") == hello
    assert hello["agent"] == name and hello["problem"] is None and hello["runtime"]["version"]
    assert hello["platform"]["cpu_count"] == os.cpu_count()
    assert hello["platform"]["system"] == "Linux" and hello["platform"]["libc"]
    assert 0 < hello["clock"]["resolution_ns"] < 100_000


def test_machines_are_described_alike(commands: dict[str, list[str]]) -> None:
    one, other = (
        answers[0]["platform"] for answers in both(commands, {"protocol": 1, "action": "probe"})
    )
    for key in ("system", "machine", "release", "libc", "cpu_count", "cpu_model", "governor"):
        assert one[key] == other[key], key


@pytest.mark.parametrize("recipe", ["float32", "int8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_latency(agent: list[str], digits: dict[str, Path], recipe: str, threads: int) -> None:
    asked = request("latency", digits[recipe], digits["samples"], threads=threads, **QUICK)
    _, loaded, *between, done = exchange(asked, command=agent)
    assert checked.loaded(loaded, "here")["load_ns"] > 0
    phases = [checked.samples(message, "here") for message in between]
    assert [phase for phase, _, _ in phases] == ["first", "warmup", "measure"]
    assert [len(values) for _, _, values in phases[:2]] == [1, 3] and len(phases[2][2]) >= 20
    starts = np.concatenate([at for _, at, _ in phases])
    durations = np.concatenate([values for _, _, values in phases])
    assert (durations > 0).all() and (np.diff(starts) >= durations[:-1]).all()
    facts = checked.done_facts(done, "here")
    assert facts["stopped_by"] == "enough"
    assert facts["threads_asked"] == threads
    # A delegate with nothing worth sharing starts no thread; none has more than asked for.
    assert facts["threads_found"] == threads
    memory = facts["memory_peak_bytes"]
    assert 2e6 < memory["start"] <= memory["loaded"] <= memory["end"] < 300e6
    resident = facts["memory_resident_bytes"]
    assert 1e6 < resident["start"] <= resident["loaded"] and resident["end"] <= memory["end"]
    assert facts["delegated"]["total"] > 0
    assert facts["cores"] == sorted(os.sched_getaffinity(0))


def test_bounds_end_a_trial(agent: list[str], digits: dict[str, Path]) -> None:
    base = request("latency", digits["float32"], digits["samples"], warmup_seconds=0)
    by_runs = exchange({**base, "min_seconds": 60, "max_runs": 30, "min_runs": 1}, command=agent)
    assert by_runs[-1]["facts"]["stopped_by"] == "max_runs"
    assert len(by_runs[-2]["values"]) == 30
    by_time = exchange({**base, "min_seconds": 60, "max_seconds": 0.2}, command=agent)
    assert by_time[-1]["facts"]["stopped_by"] == "max_seconds"


@pytest.mark.parametrize(
    ("recipe", "workers"),
    [(recipe, 1) for recipe in RECIPES] + [("float32", 3), ("int8", 3)],
)
def test_sweeps_are_equal_bit_for_bit(
    commands: dict[str, list[str]], digits: dict[str, Path], recipe: str, workers: int
) -> None:
    asked = request("sweep", digits[recipe], digits["samples"], workers=workers)
    one, other = both(commands, asked)
    assert specs(one[1]) == specs(other[1])
    assert one[-1]["facts"]["workers"] == other[-1]["facts"]["workers"] == workers
    (ours, theirs) = (swept(answers)[0] for answers in (one, other))
    assert ours.dtype == theirs.dtype and len(ours) == len(np.load(digits["samples"]))
    assert np.array_equal(ours, theirs) and len(np.unique(ours)) > 100


TYPES = ("uint8", "int8", "bool", "int16", "uint16", "int32", "uint32", "int64", "uint64",
         "float16", "float32", "float64")  # fmt: skip

#: Of these, what every run tries; the others are tried in CI.
QUICK_TYPES = (("uint8", "int8"), ("float16", "float32"), ("float64", "int8"), ("int64", "float32"))


@pytest.mark.parametrize(
    ("dtype", "recipe"),
    [
        *QUICK_TYPES,
        *(
            pytest.param(dtype, recipe, marks=pytest.mark.slow)
            for dtype in TYPES
            for recipe in ("float32", "int8")
            if (dtype, recipe) not in QUICK_TYPES
        ),
    ],
)
def test_samples_of_every_type_are_prepared_alike(
    commands: dict[str, list[str]], digits: dict[str, Path], tmp_path: Path, dtype: str,
    recipe: str,
) -> None:  # fmt: skip
    rng = np.random.default_rng(3)
    samples = rng.integers(0, 128, (40, 8, 8, 1)) / (1 if dtype[0] != "f" else 7.3)
    samples = samples.astype(dtype)
    if dtype == "float16":
        samples[0, 0, :, 0] = [6e-8, 5e-5, -0.0, 65504, 1e-7, 0.333, -2.5, 1]
    np.save(tmp_path / "s.npy", samples)
    asked = {
        **request("sweep", digits[recipe], tmp_path / "s.npy"),
        "preprocessing": {"scale": 0.137, "mean": [0.11], "std": [0.77]},
    }
    one, other = (swept(answers)[0] for answers in both(commands, asked))
    assert np.array_equal(one, other) and len(np.unique(one)) > 5


def test_channels_have_a_mean_and_a_deviation_each(
    commands: dict[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / "m.tflite").write_bytes(adding_model((1, 5, 4, 3), outputs=3))
    samples = np.random.default_rng(4).random((7, 5, 4, 3), np.float32) * 255
    np.save(tmp_path / "s.npy", samples)
    asked = {
        **request("sweep", tmp_path / "m.tflite", tmp_path / "s.npy", outputs=[2, 0]),
        "preprocessing": {"scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]},
    }
    one, other = both(commands, asked)
    assert specs(one[1]) == specs(other[1]) and len(one[1]["outputs"]) == 3
    ours, theirs = swept(one), swept(other)
    assert list(ours) == list(theirs) == [2, 0]
    mean, std = np.float32([0.4, 0.5, 0.6]), np.float32([0.1, 0.2, 0.3])
    expected = (samples * np.float32(1 / 255) - mean) / std + np.float32(2)
    assert all(np.array_equal(part, expected) for part in [*ours.values(), *theirs.values()])


def test_long_outputs_come_in_parts(commands: dict[str, list[str]], tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(adding_model((1, 150, 150, 3)))
    np.save(tmp_path / "s.npy", np.random.default_rng(5).random((4, 150, 150, 3), np.float32))
    asked = request("sweep", tmp_path / "m.tflite", tmp_path / "s.npy", count=3)
    one, other = (swept(answers)[0] for answers in both(commands, asked))
    assert one.shape == (3, 150, 150, 3) and np.array_equal(one, other)


def test_models_with_several_inputs(commands: dict[str, list[str]], tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(adding_model((1, 2, 3), inputs=2, signature=True))
    np.save(tmp_path / "s.npy", np.ones((2, 2, 3), np.float32))
    asked = request("latency", tmp_path / "m.tflite", tmp_path / "s.npy", **QUICK)
    one, other = both(commands, asked)
    assert specs(one[1]) == specs(other[1]) and len(one[1]["inputs"]) == 2
    assert one[-1]["type"] == other[-1]["type"] == "done"
    for answers in both(commands, {**asked, "action": "sweep"}):
        assert answers[-1]["kind"] == "bad_samples" and "2 inputs" in answers[-1]["message"]


def test_cores(agent: list[str], digits: dict[str, Path]) -> None:
    core = max(os.sched_getaffinity(0))
    asked = request("latency", digits["int8"], digits["samples"], cores=[core], **QUICK)
    assert exchange(asked, command=agent)[-1]["facts"]["cores"] == [core]


def test_operators(agent: list[str], name: str, digits: dict[str, Path]) -> None:
    asked = request("operators", digits["int8"], digits["samples"], runs=7, warmup_seconds=0)
    answers = exchange(asked, command=agent)
    if name == "python":
        assert answers[-1]["kind"] == "unsupported"
        return
    assert [message["type"] for message in answers] == ["hello", "loaded", "operators", "done"]
    profile = checked.profile(answers[2], "here")
    operators = profile["operators"]
    assert profile["runs"] == len(profile["elapsed"]) == 7 and min(profile["elapsed"]) > 0
    assert all(operator["time"] == sum(operator["times"]) for operator in operators)
    assert sum(operator["time"] for operator in operators) <= sum(profile["elapsed"])
    assert {operator["calls"] for operator in operators} == {7}
    assert any("Convolution" in operator["name"] for operator in operators)
    assert any(operator["delegated"] for operator in operators)
    assert all((operator["node"] is None) == operator["delegated"] for operator in operators)


def test_an_agent_whose_host_has_gone_ends(agent: list[str], digits: dict[str, Path]) -> None:
    process = AgentProcess(command=agent)
    process.hear()
    process.say(request("latency", digits["float32"], digits["samples"], min_seconds=100.0))
    assert process.hear()["type"] == "loaded"
    assert process.process.stdin
    process.process.stdin.close()
    assert process.process.wait(30) == 3
    process.process.stdin = None
    process.close()


@pytest.mark.slow
def test_long_sweeps_say_that_they_live(agent: list[str], shared: Path, tmp_path: Path) -> None:
    """A block of these samples takes longer than a second."""
    model = shared / "models" / "coral" / "mobilenet_v2_1.0_224_quant.tflite"
    np.save(tmp_path / "s.npy", np.zeros((200, 224, 224, 3), np.uint8))
    answers = exchange(request("sweep", model, tmp_path / "s.npy"), command=agent)
    assert swept(answers)[0].shape == (200, 1001)
    kinds = [message["type"] for message in answers]
    assert kinds[:3] == ["hello", "loaded", "progress"]


def test_the_answer_is_bytes_of_the_protocol_alone(
    agent: list[str], digits: dict[str, Path]
) -> None:
    process = AgentProcess(command=agent)
    process.say(request("sweep", digits["int8"], digits["samples"], id="\u2028\x7f\\"))
    assert process.process.stdout
    lines = process.process.stdout.readlines()
    assert all(line.endswith(b"\n") and len(line) < wire.MAX_LINE_BYTES for line in lines)
    assert [json.loads(line)["type"] for line in lines][:2] == ["hello", "loaded"]
    assert json.loads(lines[-1])["id"] == "\u2028\x7f\\"
    process.close()
