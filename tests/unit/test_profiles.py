"""Device profiles in files of their own, and what is said of those that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.devices import device_files, find_device
from harness.config.schema import DeviceFile, transports_of
from harness.config.suites import load_suite
from harness.errors import ConfigError, UsageError
from harness.orchestrate.environment import known_names
from harness.transports import TRANSPORTS

Write = Callable[[str], Path]


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the profile of the device ``board``."""
    monkeypatch.setenv("HARNESS_DEVICES", str(tmp_path))

    def write(text: str) -> Path:
        path = tmp_path / "board.toml"
        path.write_text(text)
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        find_device("board", TRANSPORTS)
    return str(caught.value).replace(f"{path}:", "")


def test_a_table_of_a_suite_is_no_profile(profile: Write) -> None:
    path = profile('# my board\n[device.board]\ntransport = "ssh"\nhost = "pi"\n')
    said = refused(path)
    assert said.startswith("2: a profile file has these keys without [device.NAME]\n"), said
    assert "take that line out" in said
    profile(path.read_text().replace("[device.board]", ""))
    assert find_device("board", TRANSPORTS).link["host"] == "pi"


@pytest.mark.parametrize(
    ("transport", "setting", "of"),
    [
        ("local", 'serial = "R58M"', "adb"),
        ("local", 'adb_key = "key"', "adb"),
        ("local", 'host = "pi"', "ssh and of adb"),
        ("local", "port = 22", "ssh and of adb"),
        ("local", 'user = "pi"', "ssh"),
        ("ssh", 'serial = "R58M"', "adb"),
        ("ssh", 'adb_server = "127.0.0.1:5037"', "adb"),
        ("adb", 'identity_file = "key"', "ssh"),
        ("adb", 'known_hosts = "hosts"', "ssh"),
        ("simulated", 'ssh_config = "config"', "ssh"),
    ],
)
def test_a_setting_of_another_transport_is_refused(
    profile: Write, transport: str, setting: str, of: str
) -> None:
    host = 'host = "pi"\n' if transport == "ssh" else ""
    path = profile(f'transport = "{transport}"\n{host}{setting}\n')
    said = refused(path)
    key = setting.split()[0]
    assert said.startswith(f"{3 if host else 2}: device board: {key} is a setting of"), said
    assert f"the transport {of}, and this one is {transport!r}" in said


@pytest.mark.parametrize("key", DeviceFile.model_fields)
def test_settings_belong_to_transports_that_there_are(key: str) -> None:
    assert set(transports_of(key)) <= set(TRANSPORTS)


def test_settings_of_every_transport(profile: Write, tmp_path: Path) -> None:
    for name in ("tool", "agent"):
        (tmp_path / name).touch()
    common = 'agent = "native"\nwork_dir = "/w"\nlease_dir = "/l"\nbenchmark_model = "tool"\n'
    for transport, own in (("local", ""), ("ssh", 'host = "pi"'), ("adb", 'serial = "R58M"')):
        profile(f'transport = "{transport}"\n{common}{own}\nedgetpu = "usb:0"\n')
        assert find_device("board", TRANSPORTS).link["edgetpu"] == "usb:0"


@pytest.mark.parametrize(("name", "said"), [("gone", "does not exist"), ("file", "not a folder")])
def test_a_folder_of_profiles_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_DEVICES", str(tmp_path / name))
    with pytest.raises(UsageError, match=f"HARNESS_DEVICES: .*/{name} .*{said}"):
        device_files()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('edgetpu = "tpu0"', "edgetpu = 'tpu0': not of the form that it takes (which Edge TPU: "
         "usb:0, pci:1)"),
        ('accelerators = ["cpu", "gpuu"]', "accelerators.1 = 'gpuu': must be 'cpu', 'gpu', "),
        ("title = 4", "title = 4: must be text in quotes"),
        ('work_dir_mb = "many"', "work_dir_mb = 'many': must be a whole number (the most that"),
        ("work_dir_mb = 0", "work_dir_mb = 0: must be greater than or equal to 1 (the most"),
        ('accelerators = "cpu"', "accelerators = 'cpu': must be a list"),
        ("simulation = 3", "simulation = 3: must be a table"),
        ('default_backend = "quick"', "default_backend = 'quick': "),
        ('hots = "pi"', "unknown key 'hots'\n  did you mean 'host'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_shown_with_what_it_may_be(profile: Write, line: str, said: str) -> None:
    path = profile(f'transport = "local"\n{line}\n')
    assert refused(path).startswith(f"2: {said}")


def test_what_is_missing_is_described(profile: Write) -> None:
    path = profile('title = "board"\n')
    assert refused(path) == "1: transport is missing (local, ssh, adb or simulated)"


def test_all_mistakes_are_listed_by_line(profile: Write) -> None:
    path = profile('title = 4\ntransport = "local"\nhots = "pi"\nedgetpu = "x"\n')
    lines = refused(path).splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        "1: title", "3: unknown key 'hots'; did you mean 'host'?", "4: edgetpu"
    ]  # fmt: skip
    path = profile("".join(f"odd{index} = 1\n" for index in range(100)))
    lines = refused(path).splitlines()
    assert len(lines) == 13 and lines[-1] == "and 89 more"


def test_a_value_that_may_be_of_two_types_is_told_once(suite_file: Callable[..., Path]) -> None:
    path = suite_file()
    text = path.read_text()
    path.write_text(text.replace("scale = 0.0625", 'mean = "a", std = ["b", 1]'))
    with pytest.raises(ConfigError) as caught:
        load_suite(path, known_names())
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [
        "model.digits.preprocessing.mean = 'a': must be a number or a list",
        "model.digits.preprocessing.std.0 = 'b': must be a number",
    ]


def test_hostile_names_and_long_values_do_not_reach_the_terminal(profile: Write) -> None:
    path = profile(f'transport = "local"\n"\\u001b[31mred" = 1\ntitle = ["{"x" * 5000}"]\n')
    said = refused(path)
    assert "\x1b" not in said and len(said) < 700
