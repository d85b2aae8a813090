"""Tables read in anybody's words, parameters fitted to them, and the result judged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.calibration import writing
from harness.calibration.calibrating import calibrate, spreads_of
from harness.calibration.cases import Case, cases_of
from harness.calibration.fitting import fit, predicted_seconds
from harness.calibration.judging import error_of, judge, one_rate
from harness.calibration.naming import Devices
from harness.calibration.table import read_table
from harness.config.prediction import prediction_data
from harness.errors import UsageError
from harness.reports import prediction_plot
from harness.simulation.prediction import Parameters
from tests.support import harness_command
from tests.support.published import ROWS, devices, table

__all__ = ["devices", "table"]  # fixtures


def synthetic(cases: tuple[Case, ...], truth: Parameters) -> tuple[Case, ...]:
    """The same cases, as a device with these parameters would have been measured."""
    return tuple(
        replace(case, published=replace(
            case.published, published_ms=1e3 * predicted_seconds(case, truth)
        ))
        for case in cases
    )  # fmt: skip


def test_a_fit_finds_what_made_the_latencies(
    table: Callable[[str], Path], devices: Devices
) -> None:
    cases = cases_of(read_table(table(ROWS)), devices)
    shipped = devices.parameters()
    known = {
        "device.raspberry-pi-4.cpu.float": 1.25, "device.raspberry-pi-4.cpu.int8": 0.85,
        "link.usb3-pi.invoke": 700.0,
    }  # fmt: skip
    made = synthetic(cases, Parameters({**shipped.values, **known}))
    before = [abs(log(predicted_seconds(c, shipped) / (c.published.published_ms or 1) * 1e3))
              for c in made]  # fmt: skip
    found = fit(made, shipped.values, free=known, loosen=20.0)
    assert max(before) > 0.1 and max(map(abs, found.residuals)) < 0.02
    for name, value in known.items():
        assert found.values[name] == pytest.approx(value, rel=0.06), name
    others = set(found.values) - set(known)
    assert all(found.values[name] == shipped(name) for name in others)
    assert fit(made, shipped.values, free=known, loosen=20.0).values == found.values
    # Held to the priors, one row that is off by ten does not bend the rest.
    odd = replace(made[0], published=replace(made[0].published, published_ms=770.0))
    bent = fit((odd, *made[1:]), shipped.values, free=known)
    assert bent.values["device.raspberry-pi-4.cpu.float"] > 0.25
    assert abs(bent.residuals[2]) < 0.2


def test_a_calibration_of_few_rows_is_whole_and_repeats(
    table: Callable[[str], Path], devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = cases_of(read_table(table(ROWS)), devices)
    found = calibrate(cases)
    assert len(found.unseen) == len(found.strange) == 4
    assert set(found.spreads) == {"cpu", "edgetpu"}  # of an only family the same is known
    assert all(0 < spread < 2 for spread in found.spreads.values())
    text = writing.shared_text(found, "table.csv")
    assert text == writing.shared_text(calibrate(cases), "table.csv")
    shared = tmp_path / "processors"
    shared.mkdir()
    from harness.config.prediction import forget
    from harness.config.processors import processors_dir

    for name in ("cores.toml", "boards.toml"):
        (shared / name).write_text((processors_dir() / name).read_text())
    own = tmp_path / "devices"
    own.mkdir()
    from harness.config.devices import device_files

    profile = device_files()["raspberry-pi-4"].read_text()
    (own / "raspberry-pi-4.toml").write_text(profile)
    monkeypatch.setenv("HARNESS_PROCESSORS", str(shared))
    monkeypatch.setenv("HARNESS_DEVICES", str(own))
    forget()
    files = {
        path: text
        for path, text in writing.changed_files(found, "table.csv").items()
        if tmp_path in path.parents
    }
    assert {path.name for path in files} == {"fitted.toml", "raspberry-pi-4.toml"}
    assert "+[prediction.fitted]" in writing.difference(files) or "fitted" in profile
    assert len(writing.write(files)) == 2 and not writing.write(files)
    again = Devices(prediction_data())
    assert again.parameters()("device.raspberry-pi-4.cpu.float") == pytest.approx(
        found.fit.values["device.raspberry-pi-4.cpu.float"], rel=1e-3
    )
    # All or none: what cannot be placed leaves what was placed before it as it was.
    blocked = own / "no-folder.toml"
    blocked.mkdir()
    texts = {path: path.read_text() for path in files}
    with pytest.raises(UsageError, match=r"nothing is written: .*no-folder"):
        writing.write({blocked: "x = 1\n", **{p: t + "# more\n" for p, t in texts.items()}})
    assert {path: path.read_text() for path in files} == texts
    assert sorted(own.iterdir()) == [blocked, own / "raspberry-pi-4.toml"]
    kept = (own / "raspberry-pi-4.toml").read_text()
    assert kept.split("# Fitted by")[0] == profile.split("# Fitted by")[0]


def test_fitted_factors_replace_those_before_and_nothing_else() -> None:
    text = 'name = "a"\n\n[prediction]\nsource = "b"\n'
    once = writing.with_fitted(text, {"cpu.float": 1.5}, "1 row")
    assert once.startswith(text) and once.endswith('[prediction.fitted]\n"cpu.float" = 1.5\n')
    assert writing.with_fitted(once, {"cpu.float": 1.5}, "1 row") == once
    assert writing.with_fitted(once, {}, "") == text
    behind = once + "\n[simulation]\ninit_ms = 3\n"
    moved = writing.with_fitted(behind, {"cpu.float": 2.0}, "2 rows")
    assert moved.index("[simulation]") < moved.index("[prediction.fitted]")
    assert moved.count("# Fitted by") == 1 and "1.5" not in moved


def test_errors_and_baselines_by_hand(table: Callable[[str], Path], devices: Devices) -> None:
    cases = cases_of(read_table(table(ROWS)), devices)
    rows = judge(cases, devices.parameters(), {"cpu": 0.2})
    truth = [each.case.published.published_ms or 0 for each in rows]
    percents = [
        100 * abs((each.predicted_ms or 0) - t) / t for each, t in zip(rows, truth, strict=True)
    ]
    error = error_of("all", rows)
    assert error.median_percent == pytest.approx(float(np.median(percents)))
    assert error.rows == 4 and 0 <= error.within <= 1
    assert (rows[0].high_ms or 0) / (rows[0].predicted_ms or 1) == pytest.approx(exp(0.2))
    alone = one_rate(rows[:1], per_setting=False)
    assert alone is not None and alone.median_percent == 0 and alone.within == 1
    both = one_rate(rows[:2], per_setting=False)
    rates = [(rows[i].case.published.published_ms or 1) / rows[i].macs for i in (0, 1)]
    middle = (rates[0] * rates[1]) ** 0.5
    expected = 100 * np.median([abs(middle / rate - 1) for rate in rates])
    assert both is not None and both.median_percent == pytest.approx(float(expected))
    assert one_rate([], per_setting=True) is None


def test_the_plot_shows_every_row(table: Callable[[str], Path], tmp_path: Path) -> None:
    found = harness.validate(table(ROWS))
    path = prediction_plot.write(found, tmp_path / "plot.svg")
    text = path.read_text()
    from xml.etree import ElementTree

    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg") and text.count("<circle") == 3 + 1  # and the legend
    assert "raspberry-pi-4-coral-usb" in text and prediction_plot.draw(found) == text
    with pytest.raises(UsageError, match="SVG"):
        prediction_plot.write(found, tmp_path / "plot.png")


def test_the_shipped_parameters_keep_what_they_promise(shared: Path) -> None:
    """The published table: the median error, the factor, and the intervals."""
    found = harness.validate(shared / "truth" / "latency_calibration.csv")
    overall = found.overall
    assert overall is not None and overall.rows == len(found.rows) == 180
    assert overall.median_percent <= 12 and overall.within >= 0.9
    assert overall.coverage is not None and overall.coverage >= 0.85
    baselines = found.baselines()
    assert all(error.median_percent > 1.5 * overall.median_percent for error in baselines)
    for error in found.errors()["family"]:
        assert error.median_percent <= 40, error


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_models_that_a_fit_has_not_seen(shared: Path) -> None:
    path = shared / "truth" / "latency_calibration.csv"
    done = command("validate", str(path), "--cross-validate", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    overall = found["overall"]
    assert found["unseen"] == "model" and overall["rows"] == 180
    assert overall["median_absolute_percentage_error"] <= 20
    assert overall["share_within_factor_1_5"] >= 0.9
    assert 0.8 <= overall["interval_coverage"] <= 0.99
    for error in found["errors"]["family"]:
        if error["rows"] >= 10:
            assert error["median_absolute_percentage_error"] <= 20, error


def command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*harness_command(), *words], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_the_commands(table: Callable[[str], Path], tmp_path: Path) -> None:
    path = table(ROWS)
    done = command("predict", "efficientdet_lite0", "-d", "raspberry-pi-4", "-b", "cpu x4",
               "--format", "json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["low_ms"] < found["latency_ms"] < found["high_ms"] and found["operators"]
    done = command("validate", str(path), "--plot", "a.svg", "--rows", cwd=tmp_path)
    assert done.returncode == 0 and "4 of 4 rows predicted" in done.stdout, done.stderr
    assert (tmp_path / "a.svg").is_file()
    assert command("validate", "gone.csv").returncode == 2
    assert command("calibrate").returncode == 2


def test_spreads_of_few_rows_lean_on_what_is_wider(
    table: Callable[[str], Path], devices: Devices
) -> None:
    cases = cases_of(read_table(table(ROWS)), devices)
    exact = spreads_of(cases, [0.01] * 4)
    wild = spreads_of(cases, [0.5] * 4)
    for name in exact:
        assert exact[name] < wild[name]
    assert exact["edgetpu"] > 0.01  # one row says little


ODD = """\
mobilenet_v1_1.0_224,1x3x224x224,float32,Raspberry Pi 4,,TFLite 2.18 XNNPACK,4,77.0,
mobilenet_v1_1.0_224,,int16x8,Raspberry Pi 4,,TFLite CPU,4,77.0,
mobilenet_v1_1.0_224,,float32,Raspberry Pi 4,,GPU delegate,,77.0,
mobilenet_v1_1.0_224,,float32,Raspberry Pi 4,,TFLite CPU,4,5e-324,
mobilenet_v1_1.0_224_quant,,,Raspberry Pi 4 + Coral USB (USB3),,edgetpu,,4.2,"0 GHz, 900 MHz host"
"""


def test_odd_rows_say_why_and_stop_no_other(table: Callable[[str], Path], devices: Devices) -> None:
    first, *others = cases_of(read_table(table(ROWS + ODD)), devices)[4:]
    assert first.published.input_shape == (1, 224, 224, 3)
    said = [item.status for item in judge([first, *others], Parameters(), {})]
    assert said[0] == said[4] == "ok"
    assert "not predicted" in said[1] and "no gpu" in said[2] and "no time of an" in said[3]
    assert others[3].setting is not None and others[3].setting.hardware.edgetpu is not None
    assert others[3].setting.hardware.edgetpu.mhz <= 500
    done = command("validate", str(table(ROWS + ODD)), "--cross-validate", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 9 and [row["status"] == "ok" for row in rows[4:]] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_a_table_that_leaves_devices_behind_is_not_written(
    table: Callable[[str], Path], tmp_path: Path
) -> None:
    row = "mobilenet_v1_1.0_224,,float32,Raspberry Pi 4,,TFLite 2.18 XNNPACK,4,{},\n"
    path = table(row.format(77.0))
    done = command("calibrate", str(path), "--write", cwd=tmp_path)
    assert done.returncode == 2
    assert "the table has no rows of" in done.stderr and "pixel-3" in done.stderr
    assert "1 rows of 1 models: median error" in done.stderr
    found = harness.calibrate(table(row.format(77_000_000.0)))  # ns, taken for ms
    assert any("core.cortex-a72.float = 0.25" in text for text in writing.at_bounds(found))
