"""Of what no latency can be told, and what predictions are not made from."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.calibration.naming import Devices, Unreadable
from harness.config.prediction import PredictionData, prediction_data
from harness.config.processors import resolved
from harness.domain import Backend
from harness.errors import ConfigError, ModelError, UnsupportedError, UsageError
from harness.simulation import architectures
from harness.simulation.elements import Graph
from harness.simulation.prediction import predict
from harness.simulation.prediction.simulated import modelled
from harness.simulation.version import FORM, check_form
from tests.support.graphs import graph, tensor


@pytest.fixture(scope="module")
def data() -> PredictionData:
    return prediction_data()


def network(name: str, dtype: str) -> Graph:
    found = architectures.find(name)
    assert found is not None
    return found.graph(dtype)


@pytest.mark.parametrize("name", sorted(prediction_data().devices))
def test_a_simulated_device_takes_what_is_predicted(name: str, data: PredictionData) -> None:
    """With every parameter that the prediction reads: none is a prior by oversight."""
    devices = Devices(data)
    hardware = devices.hardware[name]
    table = resolved(name, data.devices[name])
    made = network("ssd_mobilenet_v2_300", "int8")
    places = ["cpu", *hardware.accelerators, *(["edgetpu"] if hardware.edgetpu else [])]
    for place in places:
        backend = Backend(place, hardware.threads if place == "cpu" else 1)
        expected = predict(made, hardware, backend, None, devices.parameters())
        found = modelled(made, backend, table)
        assert 1e3 * found.seconds == pytest.approx(expected.latency_ms, rel=1e-9), place


@pytest.mark.parametrize("backend", ["cpu x4", "edgetpu"])
def test_a_compiled_file_hides_what_would_run(shared: Path, backend: str) -> None:
    compiled = shared / "models" / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    with pytest.raises(UnsupportedError, match="went through the Edge TPU compiler"):
        harness.predict(compiled, "coral-dev-board", backend)


def test_what_is_not_known_of_a_graph_is_told(data: PredictionData) -> None:
    hardware = Devices(data).hardware["raspberry-pi-4"]

    def refused(made: Graph, match: str) -> None:
        with pytest.raises(UnsupportedError, match=match):
            predict(made, hardware, Backend("cpu", 4))

    one = graph([tensor(0), tensor(1)], [("RELU", (0,), (1,))])
    part = one.main
    custom = replace(part, operators=(replace(part.operators[0], name="evil", custom=True),))
    refused(replace(one, subgraphs=(custom,)), "operator 0 is custom: what evil does is not known")
    refused(replace(one, subgraphs=(replace(part, operators=()),)), "it has no operators")
    sized = [tensor(0, (1, 1, 1, 3), signature=(1, -1, -1, 3)), tensor(1, (1, 1, 1, 3))]
    refused(graph(sized, [("RELU", (0,), (1,))]), r"t0 is open: \[1, -1, -1, 3\]")
    many = [tensor(0, (1, 8), signature=(-1, 8)), tensor(1)]  # how many samples, is always one
    assert predict(graph(many, [("RELU", (0,), (1,))]), hardware, Backend("cpu", 4)).latency_ms > 0
    huge = [tensor(0, (2**31, 2**31)), tensor(1, (2**31, 2**31))]
    refused(graph(huge, [("RELU", (0,), (1,))]), "make no latency")


def test_a_device_that_was_never_measured_says_so() -> None:
    assert harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4").calibrated
    assert not harness.predict("mobilenet_v1_1.0_224", "rk3588").as_dict()["calibrated"]


def test_files_without_an_end_are_not_read(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.tflite"
    with sparse.open("wb") as file:
        file.truncate(6 * 2**30)
    with pytest.raises(ModelError, match=r"a \.tflite file has 2 GiB at most"):
        harness.predict(sparse, "raspberry-pi-4")
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(UsageError, match="not a regular file"):
            harness.validate(path)
    with pytest.raises(UsageError, match="no file and no published architecture"):
        harness.predict("m" * 5000, "raspberry-pi-4")


@pytest.mark.parametrize(
    ("form", "hint"),
    [("classes-1", "older version"), ("classes-99", "newer version"), ("odd", "older version")],
)
def test_parameters_of_other_formulas_are_refused(
    data: PredictionData, form: str, hint: str
) -> None:
    check_form(FORM)
    check_form("")  # nothing was fitted
    with pytest.raises(ConfigError, match="this version predicts with") as error:
        Devices(replace(data, form=form))
    assert hint in str(error.value.hint)
    assert Devices(replace(data, form=form), fitted=False).hardware  # to calibrate anew


def test_a_name_of_two_profiles_is_neithers(data: PredictionData) -> None:
    own = {**data.devices["raspberry-pi-4"], "names": ["lab board", "raspberry pi 4"]}
    other = {**data.devices["raspberry-pi-5"], "names": ["lab board"]}
    devices = Devices(replace(data, devices={**data.devices, "zz": own, "yy": other}))
    assert devices.named("Raspberry Pi 4").name == "raspberry-pi-4"  # its own name
    with pytest.raises(Unreadable, match="'lab board' is what two profiles are called: zz and yy"):
        devices.named("lab board")


@pytest.mark.parametrize("text", ["orbit", "bitten"])
def test_a_runtime_in_words_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="unknown runtime"):
        harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4", runtime=text)


def test_a_parameter_that_no_formula_reads_is_told(data: PredictionData) -> None:
    for name in (
        "kernel.xnpack.float.dense", "core.cortex-a72.flaot", "core.z80.float", "link.rate", "link",
        "device", "device.pixel-3.cpu.float",
    ):  # fmt: skip
        misspelt = replace(data, fitted={**data.fitted, name: 0.4})
        with pytest.raises(ConfigError, match="no parameter is called " + repr(name)):
            Devices(misspelt).parameters()
