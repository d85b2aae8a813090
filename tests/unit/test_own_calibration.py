"""Calibrating one device from a run of one's own, and what that does to its profile."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.cache import cache_dir
from harness.calibration import writing
from harness.calibration.naming import Devices
from harness.calibration.own import OwnFit, calibrate_own, cases_of_run
from harness.calibration.tables import with_table
from harness.config.prediction import forget, prediction_data
from harness.domain import Backend, DeviceKind, Direction, Job, JobStatus, Measurement, Stage
from harness.errors import ConfigError, UsageError
from harness.simulation.prediction import prior_of
from harness.store.records import JobRecord


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of the user's own profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "edge-harness" / "devices"
    folder.mkdir(parents=True)
    forget()
    yield folder
    forget()


@pytest.fixture(scope="module")
def sha(digits: dict[str, Path]) -> str:
    """The digits network as float, among the cache's variants as a run leaves it."""
    from harness.cache import file_sha256

    found = file_sha256(digits["float32"])
    assert (cache_dir("host", "variants") / f"{found}.tflite").is_file()
    return found


def record(
    sha: str,
    device: str,
    backend: str = "cpu x4",
    ms: float = 0.3,
    kind: DeviceKind = DeviceKind.REAL,
) -> JobRecord:
    job = Job(0, "digits", "float32", device, kind, Backend.parse(backend))
    median = Measurement("latency_median", ms, "ms", Direction.LOWER, 9)
    return JobRecord(
        1, "r", job, JobStatus.OK, Stage.DONE, None, sha, 1, {}, "litert", "2.1", {}, None,
        {"latency_median": median},
    )  # fmt: skip


def calibrated(records: list[JobRecord], device: str, like: str = "", **how: bool) -> OwnFit:
    devices = Devices(prediction_data())
    cases = cases_of_run(records, devices, device, like or device, **how)
    return calibrate_own(cases, devices.parameters(), device)


PROFILE = """\
name = "board"
transport = "local"

[prediction]
cores = [{ type = "cortex-a72", count = 4, ghz = 1.5 }]
memory_gbs = 4.0
source = "me"
gpu = { type = "mine", float_gmacs = 50.0, int8_gmacs = 50.0 }

# by hand
[prediction.fitted]  # of my own
"gpu.rate" = 1.25
"cpu.float" = 1.5
"""


def test_parts_of_two_boards_are_never_mixed(own: Path, sha: str) -> None:
    (own / "board.toml").write_text(PROFILE)
    with pytest.raises(UsageError, match="cores, gpu, memory_gbs differ from those of rk3588") as e:
        calibrated([record(sha, "board")], "board", like="rk3588")
    assert "leave --like out" in str(e.value.hint) and "board.toml" in str(e.value.hint)
    # With its own parts, and with those of a board that are the same, it can be.
    assert calibrated([record(sha, "board")], "board").values
    table = prediction_data().boards["rk3588"]
    found = calibrated([record(sha, "new")], "new", like="rk3588")
    (own / "new.toml").write_text(next(iter(writing.own_profile(found, "rk3588", "r").values())))
    assert prediction_data().devices["new"]["cores"] == table["cores"]
    assert calibrated([record(sha, "new")], "new", like="rk3588").values


RATED = """\
name = "rated"
transport = "simulated"
accelerators = ["cpu", "edgetpu"]
[simulation]
float_gmacs = 2.0
int8_gmacs = 4.0
int16_gmacs = 0.1
thread_scaling = 0.8
cores = 8
bandwidth_gbs = 5.0
op_overhead_us = 6.0
invoke_overhead_us = 15.0
edgetpu_mhz = 500
edgetpu_link_mbs = 400
edgetpu_cache_mb = 7
edgetpu_invoke_us = 100
init_ms = 4.0
init_ms_per_mb = 6.0
memory_mb = 38.0
noise_percent = 1.5
trial_noise_percent = 1.0
"""


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (RATED, "does not say what its edgetpu is"),
        (
            RATED.replace(', "edgetpu"]', ']\ndefault_backend = "cpu x8"'),
            "has 4 cores, not 8",
        ),
    ],
)
def test_a_profile_that_fits_no_other_board_is_left_as_it_was(
    own: Path, sha: str, profile: str, said: str
) -> None:
    (own / "rated.toml").write_text(profile)
    found = calibrated(
        [record(sha, "rated", kind=DeviceKind.SIMULATED)], "rated", "raspberry-pi-4", simulated=True
    )
    files = writing.own_profile(found, "raspberry-pi-4", "r")
    with pytest.raises(UsageError, match=said) as caught:
        writing.write(files)
    assert "left as it was" in str(caught.value) and "--like" in str(caught.value.hint)
    assert (own / "rated.toml").read_text() == profile


def test_factors_that_a_run_says_nothing_of_are_kept(own: Path, sha: str) -> None:
    (own / "board.toml").write_text(PROFILE)
    found = calibrated([record(sha, "board", ms=0.5)], "board")
    files = writing.own_profile(found, "board", "r")
    assert writing.write(files) == [own / "board.toml"]
    text = (own / "board.toml").read_text()
    data = tomllib.loads(text)
    fitted = data["prediction"]["fitted"]
    assert fitted["gpu.rate"] == 1.25 and fitted["cpu.float"] != 1.5
    assert {**data["prediction"], "fitted": {}} == {
        **tomllib.loads(PROFILE)["prediction"], "fitted": {}
    }  # fmt: skip
    assert "# by hand" in text and text.count("fitted]") == 1
    # Again: the same run gives the same file.
    again = writing.own_profile(calibrated([record(sha, "board", ms=0.5)], "board"), "board", "r")
    assert set(tomllib.loads(again[own / "board.toml"])["prediction"]["fitted"]) == set(fitted)


def test_a_profile_with_a_boards_name_stays_whole(own: Path, sha: str) -> None:
    text = 'name = "rk3588"\ntransport = "ssh"\nhost = "rock.invalid"\n# no [prediction] yet\n'
    (own / "rk3588.toml").write_text(text)
    found = calibrated([record(sha, "rk3588")], "rk3588")
    writing.write(writing.own_profile(found, "rk3588", "r"))
    made = (own / "rk3588.toml").read_text()
    assert made.startswith(text) and tomllib.loads(made)["host"] == "rock.invalid"
    devices = Devices(prediction_data())
    # Tables call it as they called the board, and mean what was calibrated.
    assert devices.named("Rock 5B").name == "rk3588" and devices.named("Rock 5B").calibrated
    assert harness.predict("mobilenet_v1_1.0_224", "rk3588", "cpu x4").latency_ms > 0


def test_what_was_simulated_is_taken_only_when_told(own: Path, sha: str) -> None:
    (own / "board.toml").write_text(PROFILE)
    rehearsed = [record(sha, "board", kind=DeviceKind.SIMULATED)]
    with pytest.raises(UsageError, match="was simulated, not measured") as error:
        calibrated(rehearsed, "board")
    assert "--simulated" in str(error.value.hint)
    assert calibrated(rehearsed, "board", simulated=True).values
    with pytest.raises(UsageError, match="emulated"):
        calibrated([record(sha, "board", kind=DeviceKind.EMULATED)], "board", simulated=True)


def test_a_median_of_nothing_is_no_measurement(own: Path, sha: str) -> None:
    (own / "board.toml").write_text(PROFILE)
    with pytest.raises(
        UsageError, match=r"digits/float32 on board .* has a median latency of 0 ms"
    ):
        calibrated([record(sha, "board", ms=0.0)], "board")


def test_one_wrong_profile_stops_its_own_device_alone(own: Path) -> None:
    (own / "wrong.toml").write_text(PROFILE.replace("cortex-a72", "cortex-a0"))
    (own / "pixel-3-lab.toml").write_text("[prediction\n")
    (own / "odd.toml").write_text(PROFILE.replace('"gpu.rate"', '"gpu.rat"'))
    assert harness.predict("mobilenet_v1_1.0_224", "raspberry-pi-4").latency_ms > 0
    with pytest.raises(ConfigError, match=r"wrong.toml:5: unknown type of core"):
        harness.predict("mobilenet_v1_1.0_224", "wrong")
    # Not taken for a Pixel 3, which its name has in it.
    with pytest.raises(ConfigError, match=r"pixel-3-lab\.toml"):
        harness.predict("mobilenet_v1_1.0_224", "pixel-3-lab")
    with pytest.raises(ConfigError, match=r"odd.toml:12: unknown factor 'gpu.rat'") as error:
        harness.predict("mobilenet_v1_1.0_224", "odd")
    assert "cpu.float, cpu.int8, memory, gpu.rate" in str(error.value.hint)
    lines = prediction_data().warnings()
    assert [line.split(" cannot")[0] for line in lines] == [
        "warning: odd", "warning: pixel-3-lab", "warning: wrong"
    ]  # fmt: skip
    # Once it is mended, it is read again.
    (own / "odd.toml").write_text(PROFILE)
    assert harness.predict("mobilenet_v1_1.0_224", "odd", "gpu").latency_ms > 0


@pytest.mark.parametrize(
    "text",
    [
        "[a]\nb = 1\n\n[a.b2]\nx = 1\n",
        "[a]\nz = 1\n[a.fitted]  # kept apart\nx = 2\n\n[c]\ny = 1\n",
        "[a]\nz = 1\n[ a . 'fitted' ]\nx = 2 # two\n# of c\n[c]\ny = 1\n",
        "[a]\nz = 1\nfitted = { x = 2, y = 3 }\nw = 4\n",
        "[a]\nz = 1\nfitted.x = 2\nfitted.'y.z' = 3\nw = 4\n",
        "a.z = 1\na.fitted.x = 2\n[c]\ny = 1\n",
        'text = """\n[a.fitted]\nx = 1\n"""\n[a]\nz = [\n  1,\n  2, # [a.fitted]\n]\n',
        "",
    ],
)
def test_one_table_is_made_anew_however_it_was_written(text: str) -> None:
    lines = ["# Fitted by x", "[a.fitted]", '"x" = 9', '"y.z" = 1.5']
    new = with_table(text, ("a", "fitted"), lines, "# Fitted by")
    data, before = tomllib.loads(new), tomllib.loads(text)
    assert data["a"].pop("fitted") == {"x": 9, "y.z": 1.5}
    before.setdefault("a", {}).pop("fitted", None)
    assert data == before
    assert with_table(new, ("a", "fitted"), lines, "# Fitted by") == new
    for kept in ("# of c", "[c]"):
        assert new.count(kept) == text.count(kept)


def test_what_cannot_be_written_leaves_the_file_as_it_was(own: Path) -> None:
    with pytest.raises(ValueError, match="cannot be changed here"):
        with_table("a = { z = 1 }\n", ("a", "fitted"), ["[a.fitted]", "x = 1"], "#")
    path = own / "board.toml"
    path.write_text(PROFILE)
    with pytest.raises(UsageError, match=r"board.toml is left as it was.*unknown type of core"):
        writing.write({path: PROFILE.replace("cortex-a72", "cortex-a0")})
    with pytest.raises(UsageError, match="is left as it was"):
        writing.write({path: PROFILE + "[prediction.fitted]\n"})
    assert path.read_text() == PROFILE and list(own.iterdir()) == [path]


def test_a_devices_name_may_have_dots() -> None:
    assert prior_of("device.board.v1.cpu.float").sigma == prior_of("device.b.cpu.float").sigma
    assert prior_of("device.board.v1.memory").sigma == prior_of("device.b.memory").sigma


@pytest.mark.parametrize(
    ("runtime", "version", "machine", "kernels", "bits"),
    [
        ("tflite_runtime", "2.5.0", "armv7l", "default default", 32),
        ("tflite_runtime", "2.14.0", "aarch64", "xnnpack xnnpack", 64),
        ("ai_edge_litert", "1.2.0", "aarch64", "xnnpack xnnpack", 64),
        (None, None, "", "xnnpack xnnpack", 64),
    ],
)
def test_kernels_are_those_of_what_ran(
    own: Path, sha: str, runtime: str | None, version: str | None, machine: str, kernels: str,
    bits: int,
) -> None:  # fmt: skip
    (own / "board.toml").write_text(PROFILE)
    made = replace(
        record(sha, "board"), runtime=runtime, runtime_version=version,
        facts={"platform": {"machine": machine}},
    )  # fmt: skip
    (case,) = cases_of_run([made], Devices(prediction_data()), "board", "board")
    assert case.setting is not None
    found = case.setting.runtime
    assert (f"{found.float_kernel} {found.int8_kernel}", found.bits) == (kernels, bits)


def test_a_run_of_failures_alone_says_so(own: Path, sha: str) -> None:
    (own / "board.toml").write_text(PROFILE)
    failed = replace(record(sha, "board"), status=JobStatus.FAILED)
    with pytest.raises(UsageError, match="no job on board ended well"):
        calibrated([failed], "board")
