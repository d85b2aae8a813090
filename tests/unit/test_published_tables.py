"""Tables of published latencies: what a row is taken for, and that none is lost or half read."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.calibration.naming import Devices, Unreadable, setting_of
from harness.calibration.table import dtype_of, read_table
from harness.errors import UsageError
from harness.reports import predictions
from harness.reports.escapes import escape
from tests.support.published import ROWS, devices, row, table

__all__ = ["devices", "table"]  # fixtures


@pytest.mark.parametrize(
    ("device", "backend", "notes", "soc", "name", "said"),
    [
        ("Raspberry Pi 3B + Coral USB (USB2)", "edgetpu", "", "", "raspberry-pi-3b-coral-usb",
         "edgetpu"),
        ("Raspberry Pi 3B+ + Coral USB (USB2)", "edgetpu", "", "",
         "raspberry-pi-3b-plus-coral-usb", "edgetpu"),
        ("Raspberry Pi 4 + Coral USB (USB3)", "edgetpu", "", "", "raspberry-pi-4-coral-usb",
         "edgetpu"),
        ("Coral USB Accelerator (USB3, desktop host)", "edgetpu", "", "", "coral-usb", "edgetpu"),
        ("Coral Dev Board CPU", "TFLite CPU", "", "", "coral-dev-board", "cpu x1"),
        ("Coral Dev Board", "edgetpu", "", "", "coral-dev-board", "edgetpu"),
        ("Pixel", "XNNPACK", "", "Snapdragon 821", "pixel-1", "cpu x4"),
        ("Pixel 3a", "XNNPACK", "multi-threaded", "", "pixel-3a", "cpu x2"),
        ("Pixel 3 XL", "TFLite CPU", "", "", "pixel-3", "cpu x4"),
        ("Pixel 4", "Pixel 4 Edge TPU", "", "", "pixel-4", "npu"),
        ("Pixel 6", "NNAPI google-edgetpu (Tensor TPU)", "", "", "pixel-6", "npu"),
        ("Pixel 4", "TFLite GPU delegate (fp16 default)", "", "", "pixel-4", "gpu"),
        ("somebody's phone", "TFLite NNAPI", "", "Snapdragon 855", "pixel-4", "nnapi"),
        ("Raspberry Pi 5", "TFLite 2.18 XNNPACK (benchmark_model)", "8 threads", "",
         "raspberry-pi-5", "cpu x8"),
    ],
)  # fmt: skip
def test_devices_and_backends_in_words(
    devices: Devices, device: str, backend: str, notes: str, soc: str, name: str, said: str
) -> None:
    found = setting_of(row(device, backend, notes, soc), devices)
    assert (found.hardware.name, str(found.backend)) == (name, said)


@pytest.mark.parametrize(
    ("device", "backend", "why"),
    [
        ("Pixel 9", "TFLite CPU", "no known cores"),
        ("Pixel 4a 2030", "Core ML", "no such backend"),
        ("toaster", "TFLite CPU", "no known cores"),
        ("Coral Dev Board Micro", "edgetpu", "Cortex-M"),
        ("Raspberry Pi Zero 2 W + Coral USB", "edgetpu", "no profile of a Coral USB"),
    ],
)
def test_what_no_profile_is_of_says_so(
    devices: Devices, device: str, backend: str, why: str
) -> None:
    with pytest.raises(Unreadable, match=why):
        setting_of(row(device, backend), devices)


def test_a_stated_clock_counts(devices: Devices) -> None:
    cpu = setting_of(row("Raspberry Pi 4", "TFLite 2.18 XNNPACK", "at 1.8 GHz"), devices)
    assert cpu.hardware.cores[0].ghz == 1.8
    tpu = setting_of(row("Coral USB Accelerator", "edgetpu", "250 MHz (std)"), devices)
    assert tpu.hardware.edgetpu is not None and tpu.hardware.edgetpu.mhz == 250
    assert setting_of(row("Pixel 4", "CPU", "2 threads"), devices).backend.threads == 2


def test_types_by_column_name_and_backend() -> None:
    base = row("x", "TFLite CPU")
    for model, dtype, backend, expected in (
        ("a", "uint8/int8", "", "int8"), ("a", "float32", "", "float32"),
        ("a", "fp16", "", "float32"), ("a_quant", "", "", "int8"), ("a", "", "edgetpu", "int8"),
        ("a", "", "TFLite CPU", "float32"),
    ):  # fmt: skip
        assert dtype_of(replace(base, model=model, dtype=dtype, backend=backend)) == expected


def test_no_row_is_lost_and_each_says_why(table: Callable[[str], Path]) -> None:
    path = table(
        ROWS + "resnext_9000,,float32,Pixel 3,,TFLite CPU,4,1.0,\n"
        "mobilenet_v1_1.0_224,,float32,toaster,,TFLite CPU,4,1.0,\n"
        "mobilenet_v1_1.0_224,,float32,Pixel 3,,TFLite CPU,4,soon,\n"
        "mobilenet_v1_1.0_224,,float32,Pixel 3,,TFLite CPU,4,-1,\n"
        "mobilenet_v1_1.0_224,,float32,Pixel 3,,TFLite CPU,4,nan,\n"
        "mobilenet_v1_1.0_224,,float32,Coral USB Accelerator,,edgetpu,,2.0,\n"
        "mobilenet_v1_1.0_224,9x9,float32,Pixel 3,,TFLite CPU,4,1.0,\n"
        "\x1b[31m,,float32,Pixel 3\n"
    )
    found = harness.validate(path)
    statuses = [each.status for each in found.rows]
    assert len(statuses) == 12 and statuses[:4] == ["ok"] * 4
    for status, why in zip(statuses[4:10], (
        "no architecture is called 'resnext_9000'", "no known cores", "no number", "no time of an",
        "no time of an", "maps none",
    ), strict=True):  # fmt: skip
        assert why in status
    assert statuses[11] != "ok"
    text = predictions.validation_text(found, "table")
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 100
    parsed = json.loads(predictions.validation_text(found, "json"))
    assert list(parsed["rows"][0])[:10] == [
        "device", "backend", "threads", "model", "dtype", "published_ms", "predicted_ms",
        "low_ms", "high_ms", "status",
    ]  # fmt: skip
    listed = list(csv.DictReader(io.StringIO(predictions.validation_text(found, "csv"))))
    assert len(listed) == 12 and listed[0]["status"] == "ok"
    assert "| this predictor |" in predictions.validation_text(found, "markdown")


def test_rows_are_listed_whole(table: Callable[[str], Path]) -> None:
    found = harness.validate(
        table(
            ROWS + "nosuch_architecture_at_all,,float32,Pixel 3,,TFLite CPU,4,1.0,\n"
            "mobilenet_v1_1.0_224,,float32,Pixel 3,,TFLite | CPU,4,soon,\n"
        )
    )
    reasons = [row.status for row in found.rows if row.status != "ok"]
    assert len(reasons) == 2 and len(reasons[0]) > 40
    for width in (60, 100, 160):
        text = predictions.validation_text(found, "table", width, rows=True)
        words = " ".join(text.split())
        assert all(reason in words for reason in reasons), text
        assert max(map(len, text.splitlines())) <= width
        assert text.count("nosuch_architecture_at_all") >= 2  # in the table, and below with its why
    lines = predictions.validation_text(found, "markdown", rows=True).splitlines()
    assert lines[0].startswith("| model | device |") and lines[0].endswith(" | status |")
    listed = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[2 : 2 + len(found.rows)]]
    assert [len(cells) for cells in listed] == [8] * len(found.rows)
    assert [cells[-1].strip() for cells in listed] == [escape(row.status) for row in found.rows]
    assert "no architecture" not in predictions.validation_text(found, "markdown")


def test_tables_that_are_none(table: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="columns are missing: latency_ms"):
        read_table(table("", "model,device,backend\n"))
    with pytest.raises(UsageError, match="cannot read"):
        read_table(tmp_path / "gone.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(UsageError, match="not a text file"):
        read_table(tmp_path / "bytes.csv")
    with pytest.raises(UsageError, match="no row can be predicted"):
        harness.calibrate(table("nothing,,,nowhere,,CPU,,1,\n"))


@pytest.mark.parametrize(
    ("header", "rows", "match"),
    [
        ("", "", r"no rows below"),
        (",model", "a,b,c,1,d\n", r"two columns have one name: model"),
        ("", 'a,b,c,1\n"a,b,c,2\na,b,c,3\n', r"table.csv:3: not CSV: unexpected end of data"),
        ("", f"a,b,c,1\n{'a' * 200_000},b,c,2\n", r"table.csv:3: not CSV: field larger"),
        ("", "a,b,c,1\n" * 100_001, r"more than 100,000 rows"),
    ],
    ids=["header only", "twice", "open quotation", "long cell", "rows"],
)
def test_no_table_is_read_in_part(
    table: Callable[..., Path], header: str, rows: str, match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        read_table(table(rows, f"model,device,backend,latency_ms{header}\n"))


def test_a_tables_source_is_nothing_to_predict_by(devices: Devices) -> None:
    said = row("Raspberry Pi 4", "LiteRT 2 CPU")
    assert setting_of(replace(said, source="coral forum"), devices) == setting_of(said, devices)
