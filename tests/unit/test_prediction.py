"""The predictor: what physics says of it, whatever its parameters are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.calibration.naming import Devices
from harness.config.prediction import PredictionData, prediction_data
from harness.domain import Backend
from harness.errors import ConfigError, UnsupportedError, UsageError
from harness.simulation import read_graph
from harness.simulation.architectures import find
from harness.simulation.prediction import PRIORS, Parameters, Prepared, Runtime, predict, prior_of
from harness.simulation.prediction.classes import CLASSES, OperatorClass, work_of
from harness.simulation.prediction.hardware import Kernel
from harness.simulation.prediction.interval import UNKNOWN, spread_of
from harness.simulation.prediction.partitions import partition
from harness.simulation.prediction.tpu import MACS_PER_CYCLE, fit, link_seconds


def prepared(name: str, dtype: str = "float32") -> Prepared:
    found = find(name)
    assert found is not None
    return Prepared(found.graph(dtype))


@pytest.fixture(scope="module")
def data() -> PredictionData:
    return prediction_data()


@pytest.fixture(scope="module")
def devices(data: PredictionData) -> Devices:
    return Devices(data)


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, Prepared]:
    return {dtype: prepared("mobilenet_v1_1.0_224", dtype) for dtype in ("float32", "int8")}


def test_parameters_of_every_profile_are_within_their_bounds(devices: Devices) -> None:
    values = devices.parameters().values
    assert len(values) > 100
    for name, value in values.items():
        prior = prior_of(name)
        assert prior.low <= value <= prior.high, (name, value)
    for name, prior in PRIORS.items():
        assert prior.low <= prior.value <= prior.high and prior.sigma > 0 and prior.meaning, name
    with pytest.raises(KeyError):
        Parameters()("kernel.nothing")


def test_every_device_of_the_profiles_predicts_all_that_it_has(
    devices: Devices, data: PredictionData, mobilenet: dict[str, Prepared]
) -> None:
    parameters = devices.parameters()
    for name, hardware in devices.hardware.items():
        places = ["cpu", *hardware.accelerators, *(["edgetpu"] if hardware.edgetpu else [])]
        for place in places:
            found = predict(
                mobilenet["int8"], hardware, Backend(place), None, parameters, data.spreads
            )
            assert 0.1 < found.low_ms < found.latency_ms < found.high_ms < 2000, (name, place)
            total = sum(each.ms for each in found.operators) + found.overhead_ms
            assert total == pytest.approx(found.latency_ms)


def test_more_work_takes_longer_and_more_threads_do_not(
    devices: Devices, mobilenet: dict[str, Prepared]
) -> None:
    parameters = devices.parameters()
    small = prepared("mobilenet_v1_0.25_128")
    for name in ("raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "pixel-3"):
        hardware = devices.hardware[name]

        def of(what: Prepared, threads: int, runtime: Runtime | None = None) -> float:
            backend = Backend("cpu", threads)
            return predict(what, hardware, backend, runtime, parameters).latency_ms  # noqa: B023

        times = [of(mobilenet["float32"], threads) for threads in (1, 2, 4)]
        assert times[0] > times[1] > times[2] > times[0] / 4
        assert of(mobilenet["float32"], 4) == of(mobilenet["float32"], 4)
        assert of(small, 4) < of(mobilenet["int8"], 4) < of(mobilenet["float32"], 4)
        old = Runtime(Kernel.XNNPACK, Kernel.DEFAULT, 2021)
        assert of(mobilenet["int8"], 4, old) > of(mobilenet["int8"], 4)
        narrow = replace(old, bits=32)
        assert of(mobilenet["int8"], 4, narrow) > of(mobilenet["int8"], 4, old)


def test_little_cores_add_less_than_big_ones(
    devices: Devices, mobilenet: dict[str, Prepared]
) -> None:
    hardware, parameters = devices.hardware["pixel-3"], devices.parameters()

    def of(threads: int) -> float:
        backend = Backend("cpu", threads)
        return predict(mobilenet["float32"], hardware, backend, None, parameters).latency_ms

    assert hardware.big == 4 and hardware.threads == 8
    gained = 1 - of(8) / of(4)
    assert 0 < gained < 0.35  # four A55 beside four A75: less than a third more
    with pytest.raises(UnsupportedError, match="pixel-3 has 8 cores, not 9") as error:
        of(9)
    assert error.value.hint == "predict cpu x8"


def test_what_does_not_fit_on_an_edge_tpu_is_streamed(devices: Devices) -> None:
    parameters = devices.parameters()
    large = prepared("inception_v4", "int8")
    on = {
        name: predict(large, devices.hardware[name], Backend("edgetpu"), None, parameters)
        for name in ("coral-usb", "raspberry-pi-4-coral-usb", "raspberry-pi-3b-plus-coral-usb")
    }
    usb3, pi, usb2 = (found.latency_ms for found in on.values())
    assert usb3 < pi < usb2
    rest = large.parameter_bytes - 7.5 * 2**20
    assert rest > 30e6
    assert usb2 == pytest.approx(rest / 33e6 * 1e3, rel=0.1)  # nothing else counts there
    hardware = devices.hardware["coral-usb"]
    assert hardware.edgetpu is not None
    whole = replace(hardware, edgetpu=replace(hardware.edgetpu, cache_mib=100.0))
    assert predict(large, whole, Backend("edgetpu"), None, parameters).latency_ms < usb3 / 3


def test_results_come_over_usb_in_chunks_that_are_a_transfer_each(devices: Devices) -> None:
    parameters = devices.parameters()
    chips = {
        name: devices.hardware[name].edgetpu
        for name in ("coral-usb", "raspberry-pi-3b-coral-usb", "coral-dev-board")
    }

    def milliseconds(name: str, returned: int) -> float:
        chip = chips[name]
        assert chip is not None
        call, streamed = link_seconds(chip, 0, returned, 0, parameters)
        assert streamed == 0
        return 1e3 * call

    for name, chunk in (("coral-usb", 1024), ("raspberry-pi-3b-coral-usb", 256)):
        one = milliseconds(name, 1) - milliseconds(name, 0)
        assert milliseconds(name, chunk) - milliseconds(name, 0) == pytest.approx(one)
        assert milliseconds(name, chunk + 1) - milliseconds(name, 0) == pytest.approx(2 * one)
    # 1.7 MB of a detector's boxes: least over PCIe, most over USB 2.
    board, usb3, usb2 = (
        milliseconds(name, 1_700_000)
        for name in ("coral-dev-board", "coral-usb", "raspberry-pi-3b-coral-usb")
    )
    assert board < usb3 / 2 < usb2 / 10


def test_weights_past_the_cache_keep_threads_from_helping(devices: Devices) -> None:
    parameters = devices.parameters()
    hardware = devices.hardware["raspberry-pi-4"]

    def gain(name: str) -> float:
        graph = prepared(name)
        one, four = (
            predict(graph, hardware, Backend("cpu", threads), None, parameters).latency_ms
            for threads in (1, 4)
        )
        return one / four

    # The same backbone: one with 25 MB of weights over 100 positions, one without.
    assert gain("ssd_mobilenet_v2_300") < gain("ssdlite_mobilenet_v2_300") - 0.2


def test_an_edge_tpu_computes_at_no_more_than_its_peak(devices: Devices) -> None:
    hardware, parameters = devices.hardware["coral-usb"], devices.parameters()
    small = prepared("mobilenet_v2_1.0_224", "int8")
    found = predict(small, hardware, Backend("edgetpu"), None, parameters)
    assert hardware.edgetpu is not None
    least = small.graph.macs / (MACS_PER_CYCLE * hardware.edgetpu.mhz * 1e6) * 1e3
    assert found.latency_ms > least
    slow = replace(hardware, edgetpu=replace(hardware.edgetpu, mhz=250.0))
    assert predict(small, slow, Backend("edgetpu"), None, parameters).latency_ms > found.latency_ms
    assert np.all(fit(small.work) <= 1) and np.all(fit(small.work) > 0)


def test_the_tail_of_a_detector_stays_on_the_processor(devices: Devices) -> None:
    detector = prepared("ssd_mobilenet_v1_300", "uint8")
    hardware, parameters = devices.hardware["coral-dev-board"], devices.parameters()
    found = predict(detector, hardware, Backend("edgetpu"), None, parameters)
    tail = [each for each in found.operators if each.place == "cpu"]
    assert {each.name for each in tail} >= {"TFLite_Detection_PostProcess"}
    assert found.operators[0].place == "edgetpu" and tail[-1].ms > 1


def test_a_compiled_file_tells_nothing(shared: Path, devices: Devices) -> None:
    folder = shared / "models" / "coral"
    source = Prepared(read_graph(folder / "mobilenet_v1_0.5_160_quant.tflite"))
    built = Prepared(read_graph(folder / "mobilenet_v1_0.5_160_quant_edgetpu.tflite"))
    hardware, parameters = devices.hardware["coral-usb"], devices.parameters()
    assert predict(source, hardware, Backend("edgetpu"), None, parameters).latency_ms < 5
    with pytest.raises(UnsupportedError, match="went through the Edge TPU compiler"):
        predict(built, hardware, Backend("edgetpu"), None, parameters)


def test_a_file_and_its_architecture_are_predicted_alike(shared: Path) -> None:
    """The five real files are what their published names say."""
    folder = shared / "models" / "coral"
    for name in ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant",
                 "mobilenet_v2_1.0_224_quant"):  # fmt: skip
        for device, backend in (("raspberry-pi-4", "cpu x4"), ("coral-usb", "edgetpu")):
            file = harness.predict(folder / f"{name}.tflite", device, backend)
            built = harness.predict(name, device, backend, dtype="uint8")
            assert file.latency_ms == pytest.approx(built.latency_ms, rel=0.02), (name, device)


def test_accelerators_take_what_they_know_and_hand_back_the_rest(devices: Devices) -> None:
    detector = prepared("ssd_mobilenet_v2_300")
    parameters = devices.parameters()
    found = predict(detector, devices.hardware["pixel-3"], Backend("gpu"), None, parameters)
    places = {each.name: each.place for each in found.operators}
    assert places["CONV_2D"] == "gpu" and places["TFLite_Detection_PostProcess"] == "cpu"
    exact = predict(
        detector, devices.hardware["pixel-3"], Backend("gpu"),
        Runtime.parse("precision_loss_allowed=false"), parameters,
    )  # fmt: skip
    assert exact.latency_ms > found.latency_ms
    with pytest.raises(UnsupportedError, match="raspberry-pi-4 has no gpu"):
        predict(detector, devices.hardware["raspberry-pi-4"], Backend("gpu"), None, parameters)
    with pytest.raises(UnsupportedError, match="maps none of its operators"):
        predict(detector, devices.hardware["coral-usb"], Backend("edgetpu"), None, parameters)


def test_each_cut_of_a_graph_costs_a_transfer() -> None:
    graph = prepared("mobilenet_v1_0.25_128").graph
    count = len(graph.operators)
    whole = partition(graph, [True] * count)
    assert (whole.pieces, whole.bytes) == (1, graph.input_bytes + graph.output_bytes)
    cut = partition(graph, [index != 5 for index in range(count)])
    assert cut.pieces == 2
    middle = graph.operators[5]
    crossing = [graph.tensors[i] for i in (*middle.used, *middle.made)]
    activations = sum(tensor.bytes for tensor in crossing if not tensor.constant)
    assert cut.bytes == whole.bytes + activations
    none = partition(graph, [False] * count)
    assert (none.pieces, none.bytes, none.returned) == (0, 0, 0)
    assert whole.returned == graph.output_bytes < cut.returned < cut.bytes


def test_operators_have_the_classes_of_their_arithmetic() -> None:
    work = work_of(prepared("efficientdet_lite0", "int8").graph)
    found = {CLASSES[kind] for kind in work.classes}
    assert found >= {
        OperatorClass.CONVOLUTION, OperatorClass.POINTWISE, OperatorClass.DEPTHWISE,
        OperatorClass.MOVEMENT, OperatorClass.POOLING, OperatorClass.ELEMENTWISE,
        OperatorClass.POSTPROCESSING,
    }  # fmt: skip
    assert OperatorClass.RESIZE not in found  # it copies its nearest neighbours
    segmenter = work_of(prepared("deeplab_v3", "int8").graph)
    assert {CLASSES[kind] for kind in segmenter.classes} >= {
        OperatorClass.RESIZE, OperatorClass.SEARCH,
    }  # fmt: skip
    assert work.comparisons.sum() > 0


@pytest.mark.parametrize(
    ("text", "kernels", "generation", "bits"),
    [
        ("TFLite 2.5.0 CPU (default int8 kernels) ; 64-bit OS", "default default", 2021, 64),
        ("TFLite 2.5.0 XNNPACK ; 32-bit OS", "xnnpack default", 2021, 32),
        ("TFLite 2.18 XNNPACK (benchmark_model)", "xnnpack xnnpack", 2024, 64),
        ("TFLite CPU ; Android 10; benchmark_model", "default default", 2020, 64),
        ("XNNPACK ; armv7 32-bit; 2022-02-08", "xnnpack xnnpack", 2022, 32),
        ("TFLite 1.15", "default default", 2019, 64),
        ("litert 2.3.0", "xnnpack xnnpack", 2024, 64),
        ("", "xnnpack xnnpack", 2024, 64),
    ],
)
def test_runtimes_in_words(text: str, kernels: str, generation: int, bits: int) -> None:
    found = Runtime.parse(text)
    assert f"{found.float_kernel} {found.int8_kernel}" == kernels
    assert (found.generation, found.bits) == (generation, bits)


def test_spreads_are_the_quantile_that_they_say() -> None:
    rng = np.random.default_rng(1)
    seen, new = rng.normal(0, 0.2, 400), rng.normal(0, 0.2, 4000)
    spread = spread_of(list(seen), UNKNOWN)
    assert np.mean(np.abs(new) <= spread) == pytest.approx(0.9, abs=0.03)
    assert spread_of([], 0.5) == 0.5
    assert 0.3 < spread_of([0.0], 0.5) < 0.5  # one row moves it a little
    assert spread_of([0.1, 0.1, 0.1], 0.5) < spread_of([0.1], 0.5)


def test_what_cannot_be_predicted_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean mobilenet_v1_1.0_224"):
        harness.predict("mobilnet_w1_1.0_224", "raspberry-pi-4")
    with pytest.raises(UsageError, match="no parameters to predict 'toaster'"):
        harness.predict("mobilenet_v1_1.0_224", "toaster")
    with pytest.raises(UsageError, match="there is no file"):
        harness.predict("gone.tflite", "raspberry-pi-4")
    with pytest.raises(UsageError, match="is not a backend"):
        harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4", "x x x")
    with pytest.raises(UsageError, match="unknown type"):
        harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4", dtype="int3")


def test_a_wrong_prediction_table_is_shown_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DEVICES", str(tmp_path))
    text = 'transport = "local"\n[prediction]\nmemory_gbs = 3.0\nsource = "me"\n'
    path = tmp_path / "board.toml"
    path.write_text(text + 'cores = [{ type = "cortex-a71", count = 4, ghz = 1.0 }]\n')
    with pytest.raises(ConfigError, match=r"board.toml:5: unknown type of core 'cortex-a71'"):
        harness.predict("mobilenet_v1_1.0_224", "board")
    path.write_text(text + 'cores = [{ type = "cortex-a72", count = 4, ghz = 1.0 }]\n')
    found = harness.predict("mobilenet_v1_1.0_224", "board", "cpu x4")
    known = harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4", "cpu x4")
    assert 1.1 * known.latency_ms < found.latency_ms < 2.5 * known.latency_ms
    assert json.loads(json.dumps(found.as_dict()))["latency_ms"] == found.latency_ms


def test_what_is_not_predicted_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"any")
    for arguments, options, why in (
        (("mobilenet_v1_0.25_128", "pixel-3"), {"runtime": "PyTorch"}, "unknown runtime 'PyTorch'"),
        (("mobilenet_v1_0.25_128", "pixel-3"), {"runtime": "garbage"}, "unknown runtime"),
        (("mobilenet_v1_0.25_128", "pixel-3", "nnapi(accelerator=x)"), {}, "not modelled"),
        (("mobilenet_v1_0.25_128", "pixel-3", "cpu x4 (runner=benchmark_model)"), {}, "modelled"),
        ((file, "pixel-3"), {"dtype": "int8"}, "has its own types"),
        ((file, "pixel-3"), {"input_size": 96}, "has its own types"),
    ):
        with pytest.raises(UsageError, match=why):
            harness.predict(*arguments, **options)


def test_where_no_type_is_named_it_is_what_the_backend_is_made_for() -> None:
    edge = harness.predict("mobilenet_v1_0.25_128", "coral-usb")
    assert edge.model == "mobilenet_v1_0.25_128, int8" and edge.backend == "edgetpu"
    other = harness.predict("mobilenet_v1_0.25_128", "raspberry-pi-4", input_size=96)
    assert other.model == "mobilenet_v1_0.25_128, float32, 96 x 96"
