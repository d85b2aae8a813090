"""``harness devices``: every device that there is, and how it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config.devices import find_device
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
        "local": "ready", "pi5": "no profile", "pixel-3": "modelled",
        "raspberry-pi-4": "modelled", "coral-usb": "modelled",
    }  # fmt: skip
    assert "did you mean 'ssh'" in found["typo"]["note"]
    assert "no ssh answer from 127.0.0.1 port 1" in found["away"]["note"]
    assert found["pi5"]["note"] == 'transport = "ssh", host = "pi5"'
    table = cli("devices").stdout
    assert max(map(len, table.splitlines())) <= 100 and "Without a profile" in table


@pytest.mark.usefixtures("home")
def test_a_board_in_use_is_busy_and_nothing_is_touched_without_looking(cli: Cli) -> None:
    with Session(find_device("board", TRANSPORTS), "a colleague"):
        found = rows(cli)
        assert found["board"]["condition"] == found["board-too"]["condition"] == "busy"
        assert "a colleague" in found["board"]["note"]
        assert rows(cli, "--no-look")["away"]["condition"] == "not looked at"
