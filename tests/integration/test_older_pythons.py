"""The Python agent under real interpreters and runtimes of the past, from the package index."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_agents.python import wire
from tests.support import needed
from tests.support.agent import AgentProcess, exchange, request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Of the 5,000: a tflite-runtime of 2022 takes 23 ms for an int8 inference on x86.
IMAGES = {"float": 500, "int8": 100}


@dataclass(frozen=True)
class Answer:
    """What an agent said of the ResNet8's two variants."""

    hello: dict[str, Any]
    float32: NDArray[Any]
    int8: NDArray[Any]


@pytest.fixture(scope="module")
def cifar(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[Any]]:
    """The samples as a device gets them, and their labels."""
    arrays = np.load(shared / "data" / "cifar10_jpeg_test.npz")
    path = tmp_path_factory.mktemp("cifar") / "images.npy"
    # They are sorted by class.
    chosen = np.random.default_rng(0).permutation(len(arrays["images"]))[: max(IMAGES.values())]
    np.save(path, arrays["images"][chosen])
    return path, arrays["labels"].reshape(-1)[chosen]


def environment(interpreters: dict[str, str], folder: Path, version: str, *packages: str) -> str:
    """A fresh virtual environment with these packages; its Python."""
    if version not in interpreters:
        needed(f"this machine has no Python {version}")
    base = interpreters[version]
    subprocess.run([base, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    done = subprocess.run(
        [base, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile",
         "--target", str(folder / "lib" / f"python{version}" / "site-packages"), *packages],
        capture_output=True, text=True, check=False, env={**os.environ, "PIP_USER": "0"},
    )  # fmt: skip
    if done.returncode:
        needed(f"{', '.join(packages)} cannot be installed: {done.stderr[-500:]}")
    return python


def swept(shared: Path, samples: Path, kind: str, python: str | None = None) -> tuple[Any, Any]:
    """The hello of an agent, and its outputs."""
    model = shared / "models" / "mlperf_tiny" / f"ic_resnet8_{kind}.tflite"
    asked = request("sweep", model, samples, count=IMAGES[kind], preprocessing={})
    if python is None:
        messages = exchange(asked)
    else:
        agent = AgentProcess(python)
        agent.say(asked)
        messages, _, _ = agent.rest()
    assert messages[-1]["type"] == "done", messages[-1]
    parts = {
        message["offset"]: np.frombuffer(wire.unpack(message["data"]), message["dtype"])
        for message in messages
        if message["type"] == "outputs"
    }
    return messages[0], np.concatenate([parts[at] for at in sorted(parts)]).reshape(-1, 10)


@pytest.fixture(scope="module")
def newest(shared: Path, cifar: tuple[Path, NDArray[Any]]) -> Answer:
    """The runtime of these tests, which the others are held to."""
    hello, floats = swept(shared, cifar[0], "float")
    return Answer(hello, floats, swept(shared, cifar[0], "int8")[1])


@pytest.mark.parametrize(
    ("version", "packages", "runtime"),
    [
        ("3.7", ["tflite-runtime"], ("tflite_runtime", "2.11.0")),
        ("3.9", ["tflite-runtime", "numpy<2"], ("tflite_runtime", "2.14.0")),
        ("3.11", ["tflite-runtime", "numpy<2"], ("tflite_runtime", "2.14.0")),
        ("3.11", ["ai-edge-litert"], ("ai_edge_litert", None)),
        ("3.13", ["ai-edge-litert"], ("ai_edge_litert", None)),
    ],
)
def test_resnet8_gives_the_same_answers(
    interpreters: dict[str, str], shared: Path, cifar: tuple[Path, NDArray[Any]], newest: Answer,
    tmp_path: Path, version: str, packages: list[str], runtime: tuple[str, str | None],
) -> None:  # fmt: skip
    python = environment(interpreters, tmp_path / "env", version, *packages)
    samples, labels = cifar
    hello, floats = swept(shared, samples, "float", python)
    _, integers = swept(shared, samples, "int8", python)
    assert hello["platform"]["python"].startswith(version) and hello["problem"] is None
    assert hello["runtime"]["name"] == runtime[0]
    assert runtime[1] in (None, hello["runtime"]["version"])
    assert hello["numpy"] != newest.hello["numpy"] or runtime[0] == "ai_edge_litert"
    # Float kernels sum in other orders; no class changes by that.
    assert np.array_equal(floats.argmax(1), newest.float32.argmax(1))
    assert np.abs(floats - newest.float32).max() < 1e-3
    right = (floats.argmax(1) == labels[: len(floats)]).sum()
    assert right == (newest.float32.argmax(1) == labels[: len(floats)]).sum() > 0.7 * len(floats)
    # Kernels of int8 round differently, and a close decision may fall otherwise.
    steps = np.abs(integers.astype(int) - newest.int8.astype(int))
    assert np.median(steps) == 0 and steps.mean() < 4
    assert (integers.argmax(1) == newest.int8.argmax(1)).mean() >= 0.95


def test_numpy_2_does_not_go_with_tflite_runtime(
    interpreters: dict[str, str], shared: Path, cifar: tuple[Path, NDArray[Any]], tmp_path: Path
) -> None:
    python = environment(interpreters, tmp_path / "env", "3.11", "tflite-runtime", "numpy>=2")
    agent = AgentProcess(python)
    hello = agent.hear()
    model = shared / "models" / "mlperf_tiny" / "ic_resnet8_int8.tflite"
    agent.say(request("sweep", model, cifar[0]))
    messages, _, _ = agent.rest()
    assert hello["problem"]["kind"] == messages[-1]["kind"] == "numpy_mismatch"
    assert "numpy<2" in messages[-1]["hint"]
