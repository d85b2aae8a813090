"""``harness devices``: every device that there is, and how it is."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config.devices import find_device, simulated_devices
from harness.devices.session import Session
from harness.transports import TRANSPORTS
from tests.support.sshd import Sshd

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with two profiles of one board, one of a board that is away, and one with a typo."""
    home = tmp_path / "home"
    profiles = home / ".config" / "edge-harness" / "devices"
    profiles.mkdir(parents=True)
    board = sshd.device("board").split("]\n", 1)[1]
    (profiles / "board.toml").write_text(board)
    (profiles / "board-too.toml").write_text(board)
    (profiles / "away.toml").write_text('transport = "ssh"\nhost = "127.0.0.1"\nport = 1\n')
    (profiles / "typo.toml").write_text('transport = "shh"\n')
    (profiles / "phone.toml").write_text(
        'transport = "adb"\nhost = "127.0.0.1"\nport = 1\nkind = "emulated"\n'
    )
    (profiles / "arm.toml").write_text(
        'transport = "ssh"\nhost = "127.0.0.1"\nkind = "emulated"\nidentity_file = "gone"\n'
    )
    (profiles / "coral.toml").write_text(
        'transport = "local"\naccelerators = ["edgetpu"]\nedgetpu = "usb:7"\n'
    )
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host pi5 127.0.0.1\n  User pi\nHost *.lab !x\n")
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home if name == "HOME" else home / ".config"))
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:127.0.0.1:1")  # nobody's
    return home


def rows(cli: Cli, *arguments: str) -> dict[str, dict[str, Any]]:
    done = cli("devices", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    return {row["device"]: row for row in json.loads(done.stdout)}


@pytest.mark.usefixtures("home")
def test_what_there_is_and_how_it_is(cli: Cli) -> None:
    found = rows(cli)
    assert {name: row["condition"] for name, row in found.items()} == {
        "board": "ready", "board-too": "ready", "away": "away", "typo": "wrong profile",
        "arm": "wrong profile", "phone": "away", "coral": "poorly", "local": "ready",
        "pi5": "no profile", **dict.fromkeys(simulated_devices(TRANSPORTS), "modelled"),
    }  # fmt: skip
    assert "did you mean 'ssh'" in found["typo"]["fix"]
    assert "no ssh answer from 127.0.0.1 port 1" in found["away"]["note"]
    assert "switched on" in found["away"]["fix"]
    assert found["phone"]["fix"] == "harness emulate android --name phone --save starts it"
    assert found["arm"]["fix"] == "harness emulate linux-arm64 --name arm --save starts it"
    done = cli("doctor", "arm")
    assert done.returncode == 2 and "linux-arm64 --name arm --save starts it" in done.stderr
    assert "usb:7 is not plugged in" in found["coral"]["note"]
    assert "1a6e:089a" in found["coral"]["fix"]
    assert tomllib.loads(found["pi5"]["profile"]) == {"transport": "ssh", "host": "pi5"}


@pytest.mark.usefixtures("home")
def test_what_is_wrong_stands_below_the_table_as_wide_as_the_screen(cli: Cli) -> None:
    lines = cli("devices").stdout.splitlines()
    assert max(map(len, lines)) <= 100 and "Without a profile" in lines
    # Facts stay one line a device, whatever is wrong with others.
    assert len([line for line in lines if line.startswith("raspberry-pi-4 ")]) == 1
    away = next(at for at, line in enumerate(lines) if line.startswith("away: "))
    assert "no ssh answer" in lines[away]
    fix = next(line for line in lines[away:] if line.startswith("→ "))
    assert "switched on" in fix
    assert '    host = "pi5"' in lines


@pytest.mark.usefixtures("home")
def test_options_of_the_list_are_none_of_its_commands(cli: Cli) -> None:
    for option in (["--format", "json"], ["--no-look"]):
        done = cli("devices", *option, "clean", "local")
        assert (
            done.returncode == 2 and f"{option[0].replace('no-', '')} is no option" in done.stderr
        )


@pytest.mark.usefixtures("home")
def test_a_board_in_use_is_busy_and_nothing_is_touched_without_looking(cli: Cli) -> None:
    with Session(find_device("board", TRANSPORTS), "a colleague"):
        found = rows(cli)
        assert found["board"]["condition"] == found["board-too"]["condition"] == "busy"
        assert "a colleague" in found["board"]["note"]
        assert rows(cli, "--no-look")["away"]["condition"] == "not looked at"
