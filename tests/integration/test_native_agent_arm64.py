"""The native agent for arm64, under QEMU, with the runtime of the arm64 wheel."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.devices.agents.building import built
from harness.devices.agents.libraries import library_for
from harness.devices.agents.targets import TARGETS
from tests.support import needed
from tests.support.agent import AgentProcess, exchange, request, swept

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ARM64 = TARGETS["linux-arm64"]
SYSROOT = Path("/usr/aarch64-linux-gnu")

#: Like the emulated Cortex-A76: the runtime takes its kernels by this file, and crashes on x86's.
CPUINFO = "".join(
    f"processor\t: {core}\nBogoMIPS\t: 100.00\n"
    "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
    "lrcpc dcpop asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
    "CPU part\t: 0xd0b\nCPU revision\t: 1\n\n"
    for core in range(2)
)

#: In a mount namespace of its own, so that only this process sees the other file.
START = 'mount --bind "$1" /proc/cpuinfo && shift && QEMU_CPU=cortex-a76 exec "$@"'


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    folder = tmp_path_factory.mktemp("arm64")
    for program in ("qemu-aarch64-static", "aarch64-linux-gnu-gcc", "unshare"):
        if not shutil.which(program):
            needed(f"there is no {program}")
    if not list(SYSROOT.glob("lib/libstdc++.so.6")):
        needed(f"there is no libstdc++6-arm64-cross in {SYSROOT}")
    probe = ["unshare", "-rm", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        needed("this user may make no namespaces")
    version = importlib.metadata.version("ai-edge-litert")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--platform", ARM64.wheel, "-d", str(folder),
         f"ai-edge-litert=={version}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        needed(f"the arm64 wheel cannot be had: {done.stderr[-300:]}")
    (wheel,) = folder.glob("*.whl")
    library = library_for(ARM64, str(wheel), "arm64").path
    (folder / "cpuinfo").write_text(CPUINFO)
    yield [
        "unshare", "-rm", "sh", "-c", START, "sh", str(folder / "cpuinfo"),
        "qemu-aarch64-static", "-L", str(SYSROOT), str(built(ARM64)), "--library", str(library),
        "--version-note", version,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "recipe", ["float32", "float16", "dynamic_int8", "int8", "uint8_io", "int16x8"]
)
def test_outputs_are_those_of_this_machine(
    command: list[str], digits: dict[str, Path], recipe: str
) -> None:
    asked = request("sweep", digits[recipe], digits["samples"], count=200, workers=2)
    here, there = exchange(asked), exchange(asked, command=command)
    assert there[0]["platform"]["machine"] == "aarch64" and there[0]["problem"] is None
    assert there[1]["inputs"] == here[1]["inputs"] and there[1]["outputs"] == here[1]["outputs"]
    ours, theirs = swept(here)[0], swept(there)[0]
    if ours.dtype.kind == "f":
        # Kernels of another processor add in another order.
        assert np.abs(ours - theirs).max() < (0.02 if recipe == "dynamic_int8" else 1e-5)
    else:
        # They also round otherwise, here and there; a wrong processor gives other numbers.
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert (ours == theirs).mean() > 0.99


def test_resnet8_is_bit_identical(command: list[str], shared: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 32, 32, 3), np.uint8)
    np.save(tmp_path / "s.npy", images)
    model = shared / "models" / "mlperf_tiny" / "ic_resnet8_int8.tflite"
    asked = {**request("sweep", model, tmp_path / "s.npy"), "preprocessing": {}}
    here, there = swept(exchange(asked))[0], swept(exchange(asked, command=command))[0]
    assert np.array_equal(here, there) and len(np.unique(here)) > 20


@pytest.mark.parametrize("threads", [1, 2])
def test_a_latency_trial(command: list[str], digits: dict[str, Path], threads: int) -> None:
    asked = request(
        "latency", digits["int8"], digits["samples"], threads=threads, warmup_seconds=0,
        min_runs=20, min_seconds=0, cores=[0],
    )  # fmt: skip
    hello, loaded, *samples, done = exchange(asked, command=command)
    assert hello["runtime"]["abi"] == "2.1.6" and loaded["load_ns"] > 0
    assert [message["phase"] for message in samples] == ["first", "warmup", "measure"]
    assert done["facts"]["threads_found"] == threads and done["facts"]["cores"] == [0]


def test_operators(command: list[str], digits: dict[str, Path]) -> None:
    asked = request("operators", digits["int8"], digits["samples"], runs=3, warmup_seconds=0)
    _, _, operators, done = exchange(asked, command=command)
    assert done["type"] == "done" and len(operators["operators"]) > 3


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"threads": 0}, "bad_request"), ({"accelerator": "gpu"}, "unsupported_accelerator"),
     ({"samples": {"path": "/nonexistent"}}, "bad_samples"), ({"outputs": [9]}, "bad_request")],
)  # fmt: skip
def test_wrong_requests(
    command: list[str], digits: dict[str, Path], change: dict[str, object], kind: str
) -> None:
    asked = {**request("sweep", digits["float32"], digits["samples"]), **change}
    assert exchange(asked, command=command)[-1]["kind"] == kind


def test_a_damaged_model_and_a_host_that_has_gone(
    command: list[str], digits: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "m.tflite").write_bytes(digits["int8"].read_bytes()[:200])
    damaged = exchange(request("sweep", tmp_path / "m.tflite", digits["samples"]), command=command)
    assert damaged[-1]["kind"] == "bad_model"
    process = AgentProcess(command=command)
    process.say(request("latency", digits["int8"], digits["samples"], min_seconds=100.0))
    assert [process.hear()["type"] for _ in range(2)] == ["hello", "loaded"]
    assert process.process.stdin
    process.process.stdin.close()
    assert process.process.wait(30) == 3
    process.process.stdin = None
    process.close()
