"""A table of published latencies, and the devices that its words mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.calibration.naming import Devices
from harness.calibration.table import Published
from harness.config.prediction import prediction_data

HEADER = "model,input_shape,dtype,device,soc,backend,threads,latency_ms,notes\n"

ROWS = """\
mobilenet_v1_1.0_224,1x224x224x3,float32,Raspberry Pi 4,,TFLite 2.18 XNNPACK,4,77.0,64-bit OS
mobilenet_v1_0.50_224,1x224x224x3,float32,Raspberry Pi 4,,TFLite 2.18 XNNPACK,4,24.0,
mobilenet_v2_1.0_224_quant,,uint8,Raspberry Pi 4 Model B,,TFLite 2.18 XNNPACK,4.0,17.0,
mobilenet_v1_1.0_224_quant,,,Raspberry Pi 4 + Coral USB (USB3),,edgetpu,,4.2,
"""


@pytest.fixture(scope="module")
def devices() -> Devices:
    return Devices(prediction_data())


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    def write(rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(header + rows)
        return path

    return write


def row(device: str, backend: str, notes: str = "", soc: str = "", threads: str = "") -> Published:
    return Published(2, "m", "", device, soc, backend, threads, notes, "", None, 1.0)
