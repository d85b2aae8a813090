"""Published tables in anybody's words: types, threads, devices and backends, and what is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.calibration.naming import Devices, Unreadable, setting_of
from harness.calibration.reading import type_of
from harness.calibration.table import read_table
from harness.domain import Backend
from harness.errors import UnsupportedError, UsageError
from tests.support.published import devices, row, table

__all__ = ["devices", "table"]  # fixtures


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("w8a8", "int8"), ("int8 (quantized)", "int8"), ("uint8", "int8"), ("quant", "int8"),
        ("UINT8/INT8", "int8"), ("8-bit", "int8"), ("full integer", "int8"), ("qint8", "int8"),
        ("int8 w/ float io", "int8"), ("per-channel int8", "int8"), ("PTQ", "int8"),
        ("fp16", "float32"), ("float", "float32"), ("FP32", "float32"), ("float-32", "float32"),
        ("float16 quantization", "float32"), ("16-bit float", "float32"), ("half", "float32"),
        ("not quantized", "float32"), ("dynamic range", "dynamic_int8"),
        ("dynamic-range quantized", "dynamic_int8"), ("int8 weights", "dynamic_int8"),
        ("weights and activations int8", "int8"),
    ],
)  # fmt: skip
def test_types_in_anybodys_words(word: str, means: str) -> None:
    assert type_of(word) == means


@pytest.mark.parametrize(
    "word", ["foo", "int8x", "w4a16", "bf16", "int16x8", "fp32/int8", "mixed", "int32", "full"]
)
def test_a_type_that_is_not_known_is_told(word: str, table: Callable[..., Path]) -> None:
    rows = f"mobilenet_v1_1.0_224,,{word},Pixel 4,,TFLite CPU,4,9.0,\n"
    (found,) = harness.validate(table(rows)).rows
    assert word in found.status and "type" in found.status and found.predicted_ms is None


@pytest.mark.parametrize(
    ("cell", "backend", "threads"),
    [
        ("2 threads", "CPU", 2), ("4t", "CPU", 4), ("4.0", "CPU", 4), ("x4", "CPU", 4),
        ("single-threaded", "CPU", 1), ("multi", "CPU", 4), ("all cores", "CPU", 4),
        ("", "CPU (4 threads)", 4), ("-", "CPU x4", 4), ("n/a", "CPU, 2T", 2), ("", "CPU_4", 4),
        ("", "XNNPACK, single thread", 1), ("", "CPU", 1), ("-", "CPU", 1), ("-1", "CPU", 1),
    ],
)  # fmt: skip
def test_threads_in_anybodys_words(devices: Devices, cell: str, backend: str, threads: int) -> None:
    found = setting_of(row("Raspberry Pi 4", backend, threads=cell), devices)
    assert found.backend == Backend("cpu", threads)


@pytest.mark.parametrize("cell", ["abc", "2.5", "0", "four", "1e3", "999"])
def test_threads_that_cannot_be_read_are_told(devices: Devices, cell: str) -> None:
    with pytest.raises(Unreadable, match=r"threads .*'" + re.escape(cell)):
        setting_of(row("Raspberry Pi 4", "CPU", threads=cell), devices)


def test_more_threads_than_cores_are_told(table: Callable[..., Path]) -> None:
    rows = "mobilenet_v1_1.0_224,,int8,Raspberry Pi 4,,XNNPACK,8,9.0,\n"
    (found,) = harness.validate(table(rows)).rows
    assert found.status.startswith("raspberry-pi-4 has 4 cores, not 8")
    with pytest.raises(UnsupportedError, match="has 4 cores, not 8"):
        harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4", "cpu x8")


@pytest.mark.parametrize(
    ("device", "backend", "name", "accelerator"),
    [
        ("Pixel 4 (Snapdragon 855)", "GPU delegate", "pixel-4", "gpu"),
        ("Pixel4", "NNAPI", "pixel-4", "nnapi"),
        ("Pixel 3XL", "XNNPACK", "pixel-3", "cpu"),
        ("SD855", "CPU", "pixel-4", "cpu"),
        ("RPi4", "XNNPACK", "raspberry-pi-4", "cpu"),
        ("Raspberry Pi4, 64-bit", "CPU", "raspberry-pi-4", "cpu"),
        ("RaspberryPi 4 (8 GB) @ 1.5 GHz", "CPU", "raspberry-pi-4", "cpu"),
        ("Pi 4B", "CPU", "raspberry-pi-4", "cpu"),
        ("RPi3B+", "CPU", "raspberry-pi-3b-plus", "cpu"),
        ("Raspberry Pi 4", "Coral USB", "raspberry-pi-4-coral-usb", "edgetpu"),
        ("Raspberry Pi 4 Model B", "EdgeTPU", "raspberry-pi-4-coral-usb", "edgetpu"),
        ("Coral DevBoard", "Edge TPU", "coral-dev-board", "edgetpu"),
        ("Coral Dev Board Mini", "TPU", "coral-dev-board-mini", "edgetpu"),
        ("i.MX 8M", "4 threads", "coral-dev-board", "cpu"),
        ("Pixel 6", "NPU", "pixel-6", "npu"),
    ],
)
def test_devices_as_published_tables_write_them(
    devices: Devices, device: str, backend: str, name: str, accelerator: str
) -> None:
    found = setting_of(row(device, backend, threads="4"), devices)
    assert (found.hardware.name, found.backend.accelerator) == (name, accelerator)


@pytest.mark.parametrize(
    ("device", "backend", "why"),
    [
        ("Pixel 8", "CPU", "no known cores"),
        ("Raspberry Pi 2", "CPU", "no known cores"),
        ("Orange Pi 4B", "CPU", "no known cores"),
        ("Raspberry Pi 4", "ONNX Runtime CPU", "onnx is not TensorFlow Lite"),
        ("Raspberry Pi 4", "ncnn (CPU)", "ncnn is not TensorFlow Lite"),
        ("Raspberry Pi 4", "", "no such backend"),
    ],
)
def test_what_is_something_else_is_no_default(
    devices: Devices, device: str, backend: str, why: str
) -> None:
    with pytest.raises(Unreadable, match=why):
        setting_of(row(device, backend), devices)


def test_a_32_bit_system_may_stand_with_the_device(devices: Devices) -> None:
    assert setting_of(row("Raspberry Pi 4 (32-bit)", "XNNPACK"), devices).runtime.bits == 32


def test_another_separator_is_named(tmp_path: Path) -> None:
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        path = tmp_path / "table.csv"
        path.write_text(sign.join(("model", "device", "backend", "latency_ms")) + "\n")
        with pytest.raises(UsageError) as caught:
            read_table(path)
        assert f"separated by {name}" in str(caught.value.hint)
