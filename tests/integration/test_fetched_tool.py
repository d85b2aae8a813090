"""The ``benchmark_model`` binary, fetched from an address and verified."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.devices.benchmark_model import tool as tool_module
from harness.devices.benchmark_model.tool import fetch, find_tool
from harness.domain import Device, DeviceKind
from harness.errors import (
    AgentSetupError,
)


class Site(SimpleHTTPRequestHandler):
    """A folder, and beside it addresses that misbehave."""

    asked: list[str] = []  # noqa: RUF012  of the server's only test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/tool")
            self.end_headers()
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "tool").write_bytes(b"a tool")
    handler: type[BaseHTTPRequestHandler] | Any = partial(Site, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=partial(server.serve_forever, 0.02))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetched_once_and_verified(site: str, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"a tool").hexdigest()
    Site.asked.clear()
    for _ in range(2):
        device = Device("board", DeviceKind.REAL, "local", link={
            "benchmark_model": f"{site}/tool", "benchmark_model_sha256": sha256
        })  # fmt: skip
        found = find_tool(device)
        assert found.path.read_bytes() == b"a tool" and found.sha256 == sha256
    assert Site.asked == ["/tool"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/tool", "has the sha256 .*, not 0000"),
        ("/nothing", "the server answers 404"),
        ("/elsewhere", "is not an https:// address"),
        ("/cut", "broke off after 9 of 1,000|IncompleteRead"),
    ],
)
def test_fetches_that_fail(site: str, path: str, message: str) -> None:
    with pytest.raises(AgentSetupError, match=message):
        fetch(f"{site}{path}", "0" * 64, "board")
    assert not list((tool_module.cache_dir("host", "benchmark_model")).glob("0000*"))


def test_a_fetch_is_bounded_and_safe(site: str) -> None:
    with pytest.raises(AgentSetupError, match="more than 3 bytes"):
        fetch(f"{site}/tool", "1" * 64, "board", limit=3)
    with pytest.raises(AgentSetupError, match="is not an https:// address"):
        fetch("http://example.org/tool", "1" * 64, "board")
    with pytest.raises(AgentSetupError, match="cannot fetch"):
        fetch("http://127.0.0.1:1/tool", "1" * 64, "board")
