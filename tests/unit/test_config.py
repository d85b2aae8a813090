from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.schema import schemas
from harness.config.suites import load_suite, suite_from_json, suite_to_json
from harness.config.toml_source import TomlSource
from harness.errors import ConfigError, UsageError
from harness.orchestrate.environment import known_names
from tests.conftest import ROOT


def line_of(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "at", "said", "hint"),
    [
        ("float32", "flaot32", "recipes", "unknown recipe 'flaot32'", "'float32'"),
        ("local", "locale", "devices", "unknown device 'locale'", "'local'"),
        ("trials =", "trails =", "trails", "unknown key 'trails'", "'trials'"),
        ("trials = 1", "trials = 0", "trials = 0", "trials must be 1 to 1000", ""),
        ("trials = 1", "trials = true", "trials =", "true is not a value for this key", ""),
        ("trials = 1", 'trials = "x"', "trials =", "policy.trials", ""),
        ("trials = 1", "trials = 9\nmax_trials = 8", "trials = 9", "above max_trials (8)", ""),
        ("trials = 1", "max_trials = 0", "max_trials", "greater than or equal to 1", ""),
        ("trials = 1", "precision = nan", "precision", "precision must be 0 to 1", ""),
        ("trials = 1", "steady_within = -1", "steady_within", "steady_within must be", ""),
        ("scale =", "sacle =", "sacle", "unknown key 'sacle'", "'scale'"),
        (
            'source = "digits"',
            'source = "digit"',
            'source = "digit"',
            "unknown dataset source",
            "'digits'",
        ),
        ("builtin:digits_cnn", "builtin:digit_cnn", "digit_cnn", "built-in", "'digits_cnn'"),
        ("builtin:digits_cnn", "gone.h5", "gone.h5", "there is no file", ""),
        ('dataset = "data"', 'dataset = "date"', "date", "unknown dataset 'date'", "'data'"),
        ('name = "small"', "", "", "name is missing", ""),
        ("scale = 0.0625", "std = 0", "std", "std no zero", ""),
        ("scale = 0.0625", 'scale = "a"', "scale", "scale", ""),
        ("trials = 1", "trials = = 1", "= =", "not valid TOML", ""),
    ],
)
def test_what_is_wrong_is_refused_with_file_line_and_nearest_name(
    suite_file: Callable[..., Path], old: str, new: str, at: str, said: str, hint: str
) -> None:
    path = suite_file()
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_suite(path, known_names())
    expected = line_of(path, at) if at else 1
    assert str(caught.value).startswith(f"{path}:{expected}: "), str(caught.value)
    assert said in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_backend_that_a_device_lacks_is_refused(suite_file: Callable[..., Path]) -> None:
    path = suite_file()
    path.write_text('backends = ["cpu x2", "nnapi"]\n' + path.read_text())
    with pytest.raises(ConfigError, match=r":1: device local does not offer nnapi, only cpu"):
        load_suite(path, known_names())


def test_an_integer_recipe_needs_calibration(
    suite_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "test.npz").touch()
    path = suite_file(recipes=["int8"], dataset='source = "npz"\npath = "test.npz"')
    with pytest.raises(ConfigError, match="int8 calibrates"):
        load_suite(path, known_names())


SIMULATED = (
    'transport = "simulated"\naccelerators = ["edgetpu"]\n[device.mine.simulation]\n'
    "edgetpu_mhz = 250\nedgetpu_link_mbs = 400\nedgetpu_cache_mb = 7\nedgetpu_invoke_us = 100\n"
    "init_ms = 1\ninit_ms_per_mb = 1\nmemory_mb = 1\nnoise_percent = 1\n"
    "trial_noise_percent = 1\n"
)


HOT = """idle_w = 1
load_w = 1
ambient_c = 25
thermal_resistance_kw = 10000
heat_capacity_jk = 50
throttle_c = 80
clock_mhz = 1500
throttled_mhz = 1000
"""

PARTS = """[device.mine.prediction]
cores = [{ type = "cortex-a76", count = 2, ghz = 2.0 }, { type = "cortex-a55", count = 4, ghz = 1 }]
memory_gbs = 10.0
source = "assumed"
edgetpu = { mhz = 500, link = "usb3", link_mbs = 400, cache_mib = 7 }
"""


def test_what_a_device_is_made_of_stands_for_its_rates(suite_file: Callable[..., Path]) -> None:
    """Nobody needs to say twice how fast it is, and the one that says more counts."""
    twice = SIMULATED + "cores = 1\n" + PARTS
    once = re.sub(r"edgetpu_\w+ = \d+\n", "", SIMULATED) + PARTS
    found = []
    for table in (twice, once):
        path = suite_file(devices=["mine"], device=f"\n[device.mine]\n{table}\n")
        (device,) = load_suite(path, known_names()).devices
        found.append(device.simulation)
    assert found[0] == found[1] and found[0]["cores"] == 6


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('transport = "sssh"', "unknown transport"),
        ('transport = "ssh"', "needs a host"),
        ('transport = "simulated"', "needs \\[simulation\\]"),
        ('transport = "local"\nkind = "simulated"', "is not simulated"),
        ('transport = "local"\nport = 99999', "port"),
        ('transport = "local"\ndefault_backend = "edgetpu"', "does not offer edgetpu"),
        ('transport = "local"\ndefault_backend = "quick"', "default_backend"),
        ('transport = "local"\npower_meter = ["m"]', "go together"),
        ('transport = "local"\npower_meter_accuracy_percent = 1', "go together"),
        ('transport = "local"\npower_meter = []', "power_meter"),
        (SIMULATED + "idle_w = 1.0", "idle_w, which needs load_w too"),
        (SIMULATED + "throttle_c = 80.0", "throttle_c, which needs ambient_c too"),
        (SIMULATED + "idle_w = 3.0\nload_w = 2.0", "idle_w is above load_w"),
        (SIMULATED + "heat_capacity_jk = 0", "heat_capacity_jk"),
        (SIMULATED + "gpu_init_ms = 1e300", "gpu_init_ms"),
        (SIMULATED + HOT, "would be 10025 °C hot under load"),
        (SIMULATED + PARTS.replace("10.0", "1e-300"), "memory_gbs"),
        (SIMULATED.replace("edgetpu_mhz", "#"), "needs edgetpu_mhz for edgetpu"),
        (SIMULATED + PARTS.replace("edgetpu =", "#"), "does not say what its edgetpu is"),
    ],
)
def test_devices_that_cannot_be(suite_file: Callable[..., Path], table: str, said: str) -> None:
    path = suite_file(devices=["mine"], device=f"\n[device.mine]\n{table}\n")
    with pytest.raises(ConfigError, match=said):
        load_suite(path, known_names())


def test_environment_variables_in_paths(
    suite_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = suite_file(model="${MODELS_HERE}/model.h5")
    with pytest.raises(ConfigError, match="MODELS_HERE is not set"):
        load_suite(path, known_names())
    (tmp_path / "model.h5").touch()
    monkeypatch.setenv("MODELS_HERE", str(tmp_path))
    assert load_suite(path, known_names()).models[0].source == str(tmp_path / "model.h5")
    path = suite_file(model="${NOT_SET:-.}/model.h5")
    assert load_suite(path, known_names()).models[0].source == str(tmp_path / "model.h5")


def test_options_replace_the_lists_of_the_suite(suite_file: Callable[..., Path]) -> None:
    suite = load_suite(
        suite_file(), known_names(), devices=["pixel-3"], recipes=["int8"], policy={"trials": 7}
    )
    assert [device.name for device in suite.devices] == ["pixel-3"]
    assert suite.recipes == ("int8",) and suite.policy.trials == 7
    with pytest.raises(UsageError, match="unknown device"):
        load_suite(suite_file(), known_names(), devices=["pixel-33"])
    with pytest.raises(UsageError, match="unknown recipe"):
        load_suite(suite_file(), known_names(), recipes=["int7"])


@pytest.mark.parametrize(
    ("policy", "options", "trials", "most"),
    [
        ("", {}, 7, 30),
        ("trials = 5", {}, 5, 5),
        ("trials = 30", {}, 30, 30),
        ("trials = 3\nmax_trials = 9", {}, 3, 9),
        ("trials = 3\nprecision = 0.01", {}, 3, 30),
        ("precision = 0.05", {}, 7, 30),
        ("max_trials = 9", {}, 7, 9),
        ("max_trials = 9", {"trials": 5}, 5, 5),
        ("trials = 3\nmax_trials = 9", {"trials": 12}, 12, 12),
        ("", {"trials": 1}, 1, 1),
    ],
)
def test_who_names_trials_alone_gets_so_many(
    suite_file: Callable[..., Path], policy: str, options: dict[str, int], trials: int, most: int
) -> None:
    path = suite_file()
    path.write_text(path.read_text().replace("trials = 1", policy))
    found = load_suite(path, known_names(), policy=options).policy
    assert (found.trials, found.max_trials) == (trials, most)


def test_a_suite_kept_before_policies_adapted_means_what_it_did(
    suite_file: Callable[..., Path],
) -> None:
    path = suite_file()
    path.write_text(path.read_text().replace("trials = 1", ""))
    kept = json.loads(json.dumps(suite_to_json(load_suite(path, known_names()))))
    for new in (
        "precision",
        "max_trials",
        "max_job_seconds",
        "warmup_max_seconds",
        "steady_within",
    ):
        del kept["policy"][new]
    found = suite_from_json(kept).policy
    assert (found.trials, found.adapts, found.steady_within) == (7, False, 0)


def test_a_suite_survives_the_store(suite_file: Callable[..., Path]) -> None:
    suite = load_suite(suite_file(devices=["local", "coral-usb"]), known_names())
    assert suite_from_json(json.loads(json.dumps(suite_to_json(suite)))) == suite


def test_what_apps_are_told_of_samples(suite_file: Callable[..., Path]) -> None:
    path = suite_file(devices=["local"])
    plain = path.read_text()
    path.write_text(plain.replace("scale = 0.0625", 'scale = 0.0625, colour = "bgr"'))
    suite = load_suite(path, known_names())
    assert suite.models[0].preprocessing.colour == "bgr"
    stored = suite_to_json(suite)
    for name in ("colour", "layout", "resize"):
        del stored["models"][0]["preprocessing"][name]
    assert suite_from_json(stored).models[0].preprocessing.colour == ""
    path.write_text(plain.replace("scale = 0.0625", 'scale = 0.0625, layout = "NHWC"'))
    with pytest.raises(ConfigError, match="layout"):
        load_suite(path, known_names())


def test_schemas_on_disk_are_the_ones_in_the_code() -> None:
    for name, value in schemas().items():
        kept = json.loads((ROOT / "profiles" / "schema" / name).read_text())
        assert kept == value, "run `make schema`"


def test_lines_of_keys_in_every_toml_form(tmp_path: Path) -> None:
    path = tmp_path / "forms.toml"
    path.write_text(
        "# a comment with [brackets] and key = 1\n"  # 1
        'a = """\n'  # 2
        "b = 1\n"  # 3
        '"""\n'  # 4
        "list = [\n"  # 5
        '  "one", # [\n'  # 6
        '  "two",\n'  # 7
        "]\n"  # 8
        "[t.'odd key']\n"  # 9
        "inline = { x = 1, y = 2 }\n"  # 10
        "[[many]]\n"  # 11
        "z = 1\n"  # 12
        "[[many]]\n"  # 13
        "z = 2\n"  # 14
    )
    source = TomlSource(path)
    assert source.line(("a",)) == 2
    assert source.line(("list", 1)) == 7
    assert source.line(("t", "odd key", "inline", "y")) == 10
    assert source.line(("many", 1, "z")) == 14
    assert source.line(("nothing",)) is None
