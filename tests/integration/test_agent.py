"""What only the Python agent does; what every agent does is in contracts/test_agents.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device_agents.python import wire
from harness.devices.bundle import agent_bundle
from tests.conftest import ROOT
from tests.support.agent import AgentProcess, exchange, newer_library, request


def test_a_runtime_that_was_asked_for_is_what_to_install() -> None:
    agent = AgentProcess(sys.executable, "--runtime", "tflite_runtime")
    problem = agent.hear()["problem"]
    agent.close()
    assert "no tflite_runtime for" in problem["message"]
    assert "pip install tflite-runtime 'numpy<2'; or leave the choice" in problem["hint"]


def test_the_first_line_is_a_hello() -> None:
    agent = AgentProcess()
    hello = agent.hear()
    agent.say({"protocol": 1, "action": "probe", "id": "x"})
    assert agent.hear() == {"type": "done", "id": "x", "facts": {}}
    agent.close()
    assert (hello["type"], hello["protocol"], hello["agent"]) == ("hello", 1, "python")
    assert hello["runtime"]["name"] == "ai_edge_litert" and hello["runtime"]["version"]
    assert hello["numpy"] == np.__version__
    assert hello["platform"]["cpu_count"] == os.cpu_count()
    assert 0 < hello["clock"]["resolution_ns"] < 100_000
    assert hello["problem"] is None


def test_a_latency_trial(digits: dict[str, Path]) -> None:
    messages = exchange(
        request(
            "latency", digits["int8"], digits["samples"], threads=1,
            warmup_runs=3, warmup_seconds=0, min_runs=40, min_seconds=0.05,
        )
    )  # fmt: skip
    kinds = [message["type"] for message in messages]
    assert kinds[:2] == ["hello", "loaded"] and kinds[-1] == "done"
    loaded = messages[1]
    assert loaded["load_ns"] > 0 and loaded["init_ns"] > 0
    assert loaded["inputs"][0]["dtype"] == "int8" and loaded["inputs"][0]["scale"] > 0
    phases: dict[str, list[int]] = {}
    starts: list[int] = []
    for message in messages:
        if message["type"] == "samples":
            assert len(message["at"]) == len(message["values"])
            phases.setdefault(message["phase"], []).extend(message["values"])
            starts.extend(message["at"])
    assert len(phases["first"]) == 1 and len(phases["warmup"]) == 3
    assert len(phases["measure"]) >= 40
    assert starts == sorted(starts)
    assert all(value > 0 for values in phases.values() for value in values)
    facts = messages[-1]["facts"]
    assert facts["stopped_by"] == "enough"
    assert facts["threads_asked"] == 1 and facts["threads_found"] == 1
    memory = facts["memory_peak_bytes"]
    assert 10e6 < memory["start"] <= memory["loaded"] <= memory["end"] < 500e6


def test_peak_memory_is_the_agents_own(digits: dict[str, Path]) -> None:
    ballast = np.ones(60_000_000)  # 480 MB here must not show up there
    messages = exchange(
        request("latency", digits["float32"], digits["samples"], min_runs=1, min_seconds=0)
    )
    assert messages[-1]["facts"]["memory_peak_bytes"]["end"] < 200e6
    assert ballast[0] == 1


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic_int8", "int8", "int16x8"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_sweep_equals_a_plain_loop_bit_for_bit(
    digits: dict[str, Path], recipe: str, workers: int
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    samples = np.load(digits["samples"])
    interpreter = Interpreter(model_path=str(digits[recipe]), num_threads=1)
    interpreter.allocate_tensors()
    (detail,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = detail["quantization"]
    expected = []
    for sample in samples:
        value = sample.astype(np.float32) * np.float32(0.0625)
        if detail["dtype"] == np.int8:
            value = np.clip(np.rint(value / np.float32(scale)) + zero_point, -128, 127)
        interpreter.set_tensor(detail["index"], value[None].astype(detail["dtype"]))
        interpreter.invoke()
        expected.append(interpreter.get_tensor(out["index"])[0])
    messages = exchange(request("sweep", digits[recipe], digits["samples"], workers=workers))
    assert messages[-1]["type"] == "done", messages[-1]
    assert messages[-1]["facts"]["samples"] == len(samples)
    found = np.zeros_like(np.stack(expected))
    seen = 0
    for message in messages:
        if message["type"] == "outputs":
            data = wire.unpack(message["data"])
            assert len(data) <= wire.MAX_CHUNK_BYTES
            part = np.frombuffer(data, message["dtype"]).reshape(message["shape"])
            found[message["offset"] : message["offset"] + len(part)] = part
            seen += len(part)
    assert seen == len(samples)
    assert np.array_equal(found, np.stack(expected))


def test_several_outputs_in_the_order_that_was_asked_for(detector: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    samples = np.random.default_rng(0).integers(0, 255, (30, 8, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "s.npy", samples)
    interpreter = Interpreter(model_path=str(detector), num_threads=1)
    interpreter.allocate_tensors()
    (detail,), details = interpreter.get_input_details(), interpreter.get_output_details()
    expected: list[list[np.ndarray]] = [[] for _ in details]
    for sample in samples:
        interpreter.set_tensor(detail["index"], sample[None].astype(np.float32) / 255)
        interpreter.invoke()
        for place, out in enumerate(details):
            expected[place].append(interpreter.get_tensor(out["index"]).reshape(-1))
    asked = [3, 0, 1]
    messages = exchange(
        {**request("sweep", detector, tmp_path / "s.npy", outputs=asked),
         "preprocessing": {"scale": 1, "std": [255.0]}}
    )  # fmt: skip
    assert messages[-1]["type"] == "done", messages[-1]
    heard = [message for message in messages if message["type"] == "outputs"]
    assert [message["tensor"] for message in heard] == asked
    counts = np.stack(expected[0])[:, 0].astype(int)
    assert counts.max() > 1
    for message in heard:
        rows = np.frombuffer(wire.unpack(message["data"]), message["dtype"])
        rows, place = rows.reshape(message["shape"]), message["tensor"]
        assert rows.shape == (30, *details[place]["shape"][1:])
        # Beyond the number of boxes the operator leaves what was in memory.
        for row, wanted, count in zip(rows, expected[place], counts, strict=True):
            used = 1 if place == 0 else count * (4 if place == 1 else 1)
            assert np.array_equal(row.reshape(-1)[:used], wanted[:used])


def test_pickled_samples_are_never_loaded(digits: dict[str, Path], tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/owned",)

    np.save(tmp_path / "s.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    message = exchange(request("sweep", digits["float32"], tmp_path / "s.npy"))[-1]
    assert message["kind"] == "bad_samples"
    assert not (tmp_path / "owned").exists()


def test_stdout_is_reserved_for_the_protocol(
    digits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that prints on import must not reach the host's ears."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os\n"
        "class Loud:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ai_edge_litert':\n"
        "            os.write(1, b'library noise\\n'); print('more noise')\n"
        "import sys; sys.meta_path.insert(0, Loud())\n"
    )
    agent = AgentProcess(env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert agent.hear()["type"] == "hello"
    agent.say({"protocol": 1, "action": "probe"})
    assert agent.hear()["type"] == "done"
    _, _, stderr = agent.rest()
    assert "library noise" in stderr


def test_a_defect_of_the_agent_is_an_answer_too() -> None:
    code = (
        "from device_agents.python import agent\n"
        "agent.ACTIONS['latency'] = lambda *_: 1 / 0\n"
        "agent.main()"
    )
    agent = AgentProcess(
        command=[sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    agent.say({"protocol": 1, "action": "latency"})
    (_, error), exit_code, stderr = agent.rest()
    assert (error["type"], error["kind"], exit_code) == ("error", "bad_request", 1)
    assert "ZeroDivisionError: division by zero" in error["message"]
    assert "Traceback" in stderr


def test_the_agent_compiles_and_speaks_on_every_python(interpreters: dict[str, str]) -> None:
    """Without NumPy too: the hello then says what to install."""
    assert len(interpreters) >= 1
    for version, python in interpreters.items():
        agent = AgentProcess(python)
        hello = agent.hear()
        agent.say({"protocol": 1, "action": "latency"})
        answer = agent.hear()
        agent.close()
        assert hello["protocol"] == 1 and hello["platform"]["python"].startswith(version)
        if hello["problem"] is not None:
            assert answer["kind"] in ("no_numpy", "no_runtime"), version
            assert "pip install" in answer["hint"]
        sources = sorted((ROOT / "device_agents").rglob("*.py"))
        subprocess.run(
            [python, "-c", "import sys\nfor p in sys.argv[1:]: compile(open(p).read(), p, 'exec')",
             *map(str, sources)],
            check=True,
        )  # fmt: skip


def test_a_wheel_that_the_c_library_cannot_load_says_what_else_to_install(tmp_path: Path) -> None:
    """A real library that wants a newer C library, refused by the real loader."""
    wheel = tmp_path / "ai_edge_litert"
    wheel.mkdir()
    library = newer_library(wheel)
    (wheel / "__init__.py").touch()
    (wheel / "interpreter.py").write_text(f"import ctypes\nctypes.CDLL({str(library)!r})\n")
    agent = AgentProcess(
        sys.executable, "--runtime", "ai_edge_litert",
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    problem = agent.hear()["problem"]
    agent.close()
    assert problem["kind"] == "no_runtime" and "GLIBC_2.99' not found" in problem["message"]
    assert "tflite-runtime 'numpy<2'" in problem["hint"]


def test_the_bundle_is_the_same_file_every_time() -> None:
    assert agent_bundle() == agent_bundle()
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(agent_bundle().path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "__main__.py" in listed and "sweep.py" in listed and "harness" not in listed
