"""What benchmark_model prints and writes: recorded outputs to the digit, damage never a number."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.benchmark_model import delegation, operators, output, result
from harness.errors import ProtocolError
from tests.support.recorded import RECORDED, recorded

#: Model -> what each recording says: init, first inference, peak MB, warm-up and measured runs.
#: A phase: count, first, min, max, mean, std, p5, median, p95.
KNOWN: dict[str, tuple[int, int, float | None, tuple[float, ...], tuple[float, ...]]] = {
    "pretrainedResnet_quant.default": (
        1509, 67, None,
        (12194, 67, 38, 4555, 40.8597, 41, 39, 40, 44),
        (24401, 39, 38, 1124, 40.8429, 12, 39, 40, 45),
    ),
    "pretrainedResnet_quant.exact200": (
        963, 58, None,
        (5, 58, 39, 58, 43.6, 7, 39, 40, 58),
        (200, 40, 39, 4087, 59.94, 285, 39, 40, 40),
    ),
    "pretrainedResnet_quant.opprof": (
        1095, 68, None,
        (11855, 68, 40, 4088, 42.0355, 37, 40, 41, 42),
        (13481, 203, 67, 203, 70.4836, 5, 68, 70, 72),
    ),
    "pretrainedResnet_quant.opprof_csv": (
        1140, 67, None,
        (11877, 67, 39, 745, 41.9459, 8, 40, 41, 43),
        (12267, 154, 65, 475, 77.1227, 13, 69, 71, 98),
    ),
    "pretrainedResnet_quant.peakmem": (
        1033, 69, 10.6367,
        (12287, 69, 37, 697, 40.5395, 8, 39, 40, 41),
        (23994, 40, 36, 956, 41.5244, 9, 39, 40, 51),
    ),
    "pretrainedResnet_quant.verbose": (
        1350, 82, None,
        (8853, 82, 47, 182, 56.2503, 8, 49, 55, 63),
        (20493, 60, 39, 164, 48.634, 9, 39, 49, 61),
    ),
    "pretrainedResnet_quant.xnn_false": (
        349, 888, None,
        (1380, 888, 339, 888, 362.098, 35, 344, 350, 415),
        (2491, 368, 336, 1026, 401.269, 69, 345, 357, 519),
    ),
    "pretrainedResnet_quant.xnn_false_opprof": (
        583, 1138, None,
        (930, 1138, 344, 19130, 536.999, 695, 448, 486, 572),
        (1761, 726, 381, 1808, 550.926, 61, 514, 542, 613),
    ),
    "pretrainedResnet_quant.xnn_true": (
        986, 59, None,
        (12067, 59, 37, 552, 41.276, 9, 39, 40, 51),
        (24229, 40, 37, 488, 41.1272, 6, 39, 40, 51),
    ),
    "vww_96_float.default": (
        2716, 227, None,
        (4154, 227, 112, 230, 118.317, 9, 114, 115, 138),
        (8414, 115, 108, 697, 116.892, 12, 112, 115, 130),
    ),
    "vww_96_float.exact200": (
        3386, 172, None,
        (5, 172, 116, 172, 133.8, 20, 116, 125, 172),
        (200, 115, 113, 248, 118.365, 13, 114, 115, 136),
    ),
    "vww_96_float.opprof": (
        1608, 174, None,
        (4071, 174, 110, 481, 120.808, 13, 115, 118, 145),
        (5878, 285, 146, 598, 161.68, 19, 150, 153, 191),
    ),
    "vww_96_float.opprof_csv": (
        2492, 278, None,
        (3825, 278, 115, 430, 128.499, 18, 117, 119, 148),
        (6191, 245, 146, 278, 153.614, 11, 148, 151, 177),
    ),
    "vww_96_float.xnn_false": (
        516, 2535, None,
        (396, 2535, 1039, 3741, 1260.86, 348, 1079, 1108, 2001),
        (745, 2068, 1033, 5440, 1336.67, 363, 1094, 1142, 2010),
    ),
    "vww_96_float.xnn_false_opprof": (
        683, 2676, None,
        (282, 2676, 1092, 12037, 1774.17, 965, 1114, 1843, 2078),
        (537, 2105, 1132, 5708, 1821.34, 323, 1217, 1921, 2104),
    ),
    "vww_96_float.peakmem": (
        1558, 188, 12.3008,
        (4137, 188, 111, 248, 118.877, 13, 113, 114, 134),
        (8535, 121, 109, 261, 115.194, 11, 111, 112, 130),
    ),
    "vww_96_float.verbose": (
        1934, 234, None,
        (3938, 234, 109, 503, 124.714, 22, 113, 115, 144),
        (8239, 115, 108, 4158, 119.363, 57, 111, 114, 138),
    ),
    "vww_96_float.xnn_true": (
        1505, 170, None,
        (4321, 170, 108, 241, 113.915, 10, 110, 112, 126),
        (8600, 114, 105, 722, 114.34, 17, 110, 113, 118),
    ),
}  # fmt: skip

GOOD = """INFO: STARTING!
INFO: Running benchmark for at least 5 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=5 first=58 curr=40 min=39 max=58 avg=43.6 std=7 p5=39 median=40 p95=58

INFO: Running benchmark for at least 200 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=200 first=40 curr=40 min=39 max=4087 avg=59.94 std=285 p5=39 median=40 p95=40

INFO: Inference timings in us: Init: 963, First inference: 58, Warmup (avg): 43.6, \
Inference (avg): 59.94"""


def numbers(phase: output.Statistics) -> tuple[float | None, ...]:
    return (phase.count, phase.first, phase.min, phase.max, phase.mean, phase.std,
            phase.p5, phase.median, phase.p95)  # fmt: skip


def edited(*changes: tuple[str, str]) -> list[str]:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.splitlines()


@pytest.mark.parametrize("name", KNOWN)
def test_recorded_outputs_to_the_digit(shared: Path, name: str) -> None:
    found = output.parse(recorded(shared, f"{name}.txt"), "board")
    init, first, peak, warmup, measured = KNOWN[name]
    assert (found.init_us, found.first_us) == (init, first)
    assert found.peak_memory_bytes == (peak and round(peak * 2**20))
    assert numbers(found.warmup) == warmup
    assert numbers(found.measured) == measured


def test_every_recorded_output_is_read(shared: Path) -> None:
    files = sorted(path.name for path in (shared / RECORDED).glob("*.txt"))
    assert {name.removesuffix(".txt") for name in files} == set(KNOWN)
    for name in files:
        lines = recorded(shared, name)
        found = output.parse(lines, "board")
        assert f"avg={found.measured.mean:g} " in "\n".join(lines)
        without_levels = [line.removeprefix("INFO: ") for line in lines]
        assert output.parse(without_levels, "board") == found, "older builds print no level"
        assert output.parse([f"{line}\r" for line in lines], "board") == found


@pytest.mark.parametrize("model", ["pretrainedResnet_quant", "vww_96_float"])
def test_recorded_results_agree_with_the_text(shared: Path, model: str) -> None:
    data = (shared / RECORDED / f"{model}.result.pb").read_bytes()
    found = output.parse(recorded(shared, f"{model}.opprof_csv.txt"), "board")
    read = result.read_result(data, "board")
    assert read["runs"] == found.measured.count and read["warmup_runs"] == found.warmup.count
    assert read["median"] == pytest.approx(found.measured.median / 1000)  # type: ignore[operator]
    result.agree(read, found, "board")
    for name in read:
        with pytest.raises(ProtocolError, match=f"for {name} and wrote"):
            result.agree({**read, name: read[name] * 1.001 + 1}, found, "board")


def test_a_damaged_result_is_refused(shared: Path) -> None:
    data = (shared / RECORDED / "vww_96_float.result.pb").read_bytes()
    found = output.parse(recorded(shared, "vww_96_float.opprof_csv.txt"), "board")
    for size in range(len(data) - 7):  # the last field is the throughput, which nobody reads
        with pytest.raises(ProtocolError):
            result.agree(result.read_result(data[:size], "board"), found, "board")


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader_of_results(data: bytes) -> None:
    try:
        found = result.read_result(data, "board")
    except ProtocolError:
        return
    assert all(np.isfinite(value) and value >= 0 for value in found.values())


def test_forms_of_statistics() -> None:
    measured = "count=200 first=40 curr=40 min=39 max=4087 avg=59.94 std=285 p5=39 median=40 p95=40"
    one = edited(
        ("count=5 first=58 curr=40 min=39 max=58 avg=43.6 std=7 p5=39 median=40 p95=58",
         "count=1 curr=58 p5=58 median=58 p95=58"),
        ("Warmup (avg): 43.6", "Warmup (avg): 58"),
    )  # fmt: skip
    assert numbers(output.parse(one, "b").warmup) == (1, 58, 58, 58, 58, 0, 58, 58, 58)
    large = edited(
        (measured, "count=50 first=905463 curr=1240270 min=905463 max=1500000 avg=1.24027e+06 "
                   "std=1549 p5=905463 median=1240271 p95=1500000"),
        ("Inference (avg): 59.94", "Inference (avg): 1.24027e+06"),
    )  # fmt: skip
    assert output.parse(large, "b").measured.mean == 1_240_270
    same = edited(
        (measured, "count=50 curr=1240271(all same) p5=1240271 median=1240271 p95=1240271"),
        ("Inference (avg): 59.94", "Inference (avg): 1.24027e+06"),
    )
    assert output.parse(same, "b").measured.mean == 1_240_271
    old = edited((measured, measured.split(" p5=")[0]))
    assert output.parse(old, "b").measured.median is None
    rounded = edited(("std=285", "std=-9223372036854775808"))
    assert output.parse(rounded, "b").measured.std is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("count=200 first", "count=0 first"), "contradict themselves"),
        (("max=4087", "max=30"), "contradict themselves"),
        (("avg=59.94 std", "avg=5994 std"), "contradict themselves"),
        (("std=285", "std=5000"), "contradict themselves"),
        (("std=285", "std=-3"), "contradict themselves"),
        (("p5=39 median=40 p95=40", "p5=39 median=45 p95=40"), "contradict themselves"),
        (("curr=40 min=39 max=4087", "curr=5000 min=39 max=4087"), "contradict themselves"),
        (("max=4087", "max=4087ms"), "not understood"),
        (("max=4087", "max=4087 unit=ms"), "not understood"),
        (("std=285 p5=39", "std=285 p5=3"), "contradict themselves"),
        (("count=200 first=40 ", "count=200 "), "not understood"),
        (("median=40 p95=40", "median=40 p95=nan"), "not understood"),
        (("timings in us", "timings in ms"), "timings that are not understood"),
        (("First inference: 58", "First inference: 59"), "contradict its statistics"),
        (("Inference (avg): 59.94", "Inference (avg): 59.9"), "contradict its statistics"),
        (("Inference (avg): 59.94", "Inference (avg): 60.94"), "contradict its statistics"),
        (("Init: 963", "Init: 9.63e2"), "timings that are not understood"),
        (("at least 200 iterations", "at least 200 loops"), "a phase that is not understood"),
        (("INFO: count=200", "INFO: \x1b[1mcount=200"), "1 lines of statistics"),
    ],
)
def test_what_is_wrong_is_an_error_that_shows_the_line(
    change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ProtocolError, match=message) as caught:
        output.parse(edited(change), "board")
    assert "\x1b" not in str(caught.value)
    assert (
        "avg" in str(caught.value)
        or "iterations" in str(caught.value)
        or "loops" in str(caught.value)
    )


def test_memory_in_another_unit_is_an_error() -> None:
    said = "INFO: Overall peak memory footprint (MB) via periodic monitoring: 12.5"
    assert output.parse([*GOOD.splitlines(), said], "b").peak_memory_bytes == 12.5 * 2**20
    with pytest.raises(ProtocolError, match="a peak of memory"):
        output.parse([*GOOD.splitlines(), said.replace("(MB)", "(kB)")], "b")


def test_the_stop_rule_must_have_been_followed() -> None:
    asked = output.Asked(5, 0, 200, 0)
    assert output.parse(GOOD.splitlines(), "b", asked).measured.count == 200
    for other in (output.Asked(4, 0, 200, 0), output.Asked(5, 0, 200, 1)):
        with pytest.raises(ProtocolError, match="another stop rule"):
            output.parse(GOOD.splitlines(), "b", other)


def test_no_truncated_output_is_a_number() -> None:
    whole = output.parse(GOOD.splitlines(), "b")
    assert whole.measured.mean == 59.94
    for size in range(len(GOOD)):
        with pytest.raises(ProtocolError):
            output.parse(GOOD[:size].splitlines(), "b")


@given(st.data())
def test_no_broken_line_is_a_number(data: st.DataObject) -> None:
    """A character more, less or other: an error, or the numbers of a line that says so."""
    at = data.draw(st.integers(0, len(GOOD) - 1))
    new = data.draw(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=2))
    text = GOOD[:at] + new + GOOD[at + data.draw(st.integers(0, 2)) :]
    try:
        found = output.parse(text.split("\n"), "b")
    except ProtocolError:
        return
    # Only what the changed text itself still says, digit by digit, may come out.
    said = set(re.findall(r"[\d.]+", text, re.ASCII))
    for value in (*numbers(found.measured), *numbers(found.warmup), found.init_us):
        assert value is None or f"{value:g}" in said or str(value) in said


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_text_crashes_the_parsers(lines: list[str]) -> None:
    for read in (
        lambda: output.parse(lines, "b"),
        lambda: delegation.delegated(lines, "nnapi", 3, "b"),
        lambda: operators.read_operators("\n".join(lines), "b"),
    ):
        with pytest.raises(ProtocolError):
            read()
