"""GPUs, NNAPI and neural processors of simulated devices: a run agrees with the predictor."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.api.predicting import predict
from harness.api.runs import RunResult, load
from harness.config.devices import find_device
from harness.config.suites import load_suite
from harness.domain import Backend
from harness.errors import ConfigError, UnsupportedError
from harness.orchestrate.environment import known_names
from harness.orchestrate.plan import make_plan
from harness.orchestrate.run import execute
from harness.simulation import Graph, architectures, estimate
from harness.store import Store
from harness.transports import TRANSPORTS
from tests.support import write_suite

BACKENDS = ["cpu x4", "gpu", "nnapi", "npu"]


def suite_text(path: Path, backends: list[str], **more: object) -> Path:
    write_suite(path, **more)  # type: ignore[arg-type]  # its own names
    quoted = ", ".join(f'"{backend}"' for backend in backends)
    path.write_text(path.read_text().replace("devices =", f"backends = [{quoted}]\ndevices =", 1))
    return path


def measured(path: Path, store: Path) -> tuple[RunResult, int]:
    with Store(f"sqlite:///{store}") as kept:
        outcome = execute(kept, plan=make_plan(load_suite(path, known_names())))
        return load(outcome.run, store=kept), outcome.exit_code


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]) -> RunResult:
    folder = tmp_path_factory.mktemp("accelerators")
    suite = suite_text(
        folder / "suite.toml", BACKENDS, devices=["pixel-4"], recipes=["float32", "int8"], trials=5,
        policy='max_trials = 5\nmeasure = ["latency", "accuracy", "operators"]',
    )  # fmt: skip
    result, exit_code = measured(suite, folder / "run.db")
    assert exit_code == 0
    return result


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_median_is_what_is_predicted(
    run: RunResult, digits: dict[str, Path], backend: str, recipe: str
) -> None:
    job = next(
        job for job in run.view.jobs
        if job.job.recipe == recipe and str(job.job.backend) == backend
    )  # fmt: skip
    if (recipe, backend) == ("float32", "npu"):  # it computes in integers alone
        assert job.status == "unsupported" and "runs on npu" in str(job.error)
        with pytest.raises(UnsupportedError, match="runs on npu"):
            predict(digits[recipe], "pixel-4", backend)
        return
    expected = predict(digits[recipe], "pixel-4", backend)
    median = job.measurements["latency_median"]
    # Samples differ by 3 %, trials by 2: within 4 sigma of a median of five medians of five.
    error = 1.2533 / 5**0.5
    spread = ((0.03 * error) ** 2 + 0.02**2) ** 0.5 * error
    assert median.value == pytest.approx(expected.latency_ms, rel=4 * spread)
    assert job.job.kind == "simulated"


def test_delegation_is_recorded_as_by_delegates(run: RunResult, digits: dict[str, Path]) -> None:
    for job in run.view.jobs:
        delegated = job.facts.get("delegated")
        accelerator = job.job.backend.accelerator
        if accelerator == "cpu" or job.status == "unsupported":
            assert delegated is None
            continue
        predicted = predict(digits[job.job.recipe], "pixel-4", accelerator).operators
        assert delegated == {
            "accelerator": accelerator,
            "nodes": sum(each.place == accelerator for each in predicted),
            "total": len(predicted),
            "partitions": 1,
        }


def graph_of(name: str, dtype: str) -> Graph:
    found = architectures.find(name)
    assert found is not None
    return found.graph(dtype)


def test_what_a_delegate_does_not_know_stays_on_the_processor() -> None:
    profile = find_device("pixel-4", TRANSPORTS).simulation
    graph = graph_of("ssd_mobilenet_v2", "float32")
    found = estimate(graph, 10_000_000, Backend("gpu"), profile)
    names = [operator.name for operator in graph.operators]
    assert 0 < sum(found.delegated) < len(found.delegated) == len(names)
    assert not found.delegated[names.index("TFLite_Detection_PostProcess")]
    assert found.partitions >= 1


def test_preparing_a_delegate_is_apart_from_loading() -> None:
    profile = find_device("pixel-4", TRANSPORTS).simulation
    graph = graph_of("mobilenet_v1_0.25_128", "float32")
    cpu, gpu = (
        estimate(graph, 2_000_000, backend, profile)
        for backend in (Backend("cpu", 4), Backend("gpu"))
    )
    assert cpu.init_ns == gpu.init_ns
    assert (cpu.delegate_ns, gpu.delegate_ns) == (0, profile["gpu_init_ms"] * 1e6)


@pytest.mark.parametrize("accelerator", ["gpu", "nnapi", "npu"])
def test_integers_of_16_bits_are_on_no_delegate(
    digits: dict[str, Path], accelerator: str, tmp_path: Path
) -> None:
    suite = suite_text(
        tmp_path / "suite.toml", [accelerator], devices=["pixel-4"], recipes=["int16x8"]
    )
    result, _ = measured(suite, tmp_path / "run.db")
    (job,) = result.view.jobs
    assert job.status == "unsupported" and job.stage == "load"
    assert job.error is not None and f"runs on {accelerator}" in job.error


def test_a_profile_says_what_an_accelerator_is_made_of(tmp_path: Path) -> None:
    device = """
[device.phone]
transport = "simulated"
accelerators = ["gpu"]
simulation = { init_ms = 1, init_ms_per_mb = 1, memory_mb = 30, noise_percent = 1, trial_noise_percent = 1, gpu_init_ms = 100 }
"""  # noqa: E501
    suite = write_suite(tmp_path / "suite.toml", devices=["phone"], device=device)
    with pytest.raises(ConfigError, match=r"\[prediction\] does not say what its gpu is"):
        load_suite(suite, known_names())


def test_options_that_are_not_modelled_are_refused(tmp_path: Path) -> None:
    suite = suite_text(tmp_path / "suite.toml", ["nnapi(accelerator=qti-dsp)"], devices=["pixel-4"])
    with pytest.raises(ConfigError, match="options of nnapi are not modelled"):
        load_suite(suite, known_names())


def test_a_device_that_heats_up_at_once_is_none(tmp_path: Path) -> None:
    """Its clock would change more often than inferences end."""
    device = """
[device.tiny]
transport = "simulated"
[device.tiny.simulation]
float_gmacs = 2.0
int8_gmacs = 7.0
int16_gmacs = 0.1
thread_scaling = 0.8
cores = 4
bandwidth_gbs = 5.0
op_overhead_us = 5.0
invoke_overhead_us = 15.0
init_ms = 1.0
init_ms_per_mb = 1.0
memory_mb = 30.0
noise_percent = 1.0
trial_noise_percent = 1.0
idle_w = 2.0
load_w = 6.0
ambient_c = 25.0
thermal_resistance_kw = 10.0
heat_capacity_jk = 1e-9
throttle_c = 70.0
clock_mhz = 1500.0
throttled_mhz = 600.0
"""
    suite = write_suite(tmp_path / "suite.toml", devices=["tiny"], device=device)
    with pytest.raises(ConfigError, match="heats up within 1e-08 s, which no device does"):
        load_suite(suite, known_names())


def test_a_device_without_a_gpu_has_none() -> None:
    profile = find_device("raspberry-pi-4", TRANSPORTS).simulation
    with pytest.raises(UnsupportedError):
        estimate(graph_of("mobilenet_v1_0.25_128", "int8"), 1, Backend("gpu"), profile)
