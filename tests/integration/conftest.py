"""The adb link by both ways, for tests of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.domain import Device
from harness.emulation.android import AndroidTarget
from harness.transports.adb import AdbTransport
from tests.support.adb import Adb, Opened, start_adb, start_android


@pytest.fixture(scope="module")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    with start_adb(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture(scope="module")
def shared_phone(adb: Adb) -> Iterator[AndroidTarget]:
    with start_android(adb.key) as target:
        yield target


@pytest.fixture(params=["server", "direct"])
def way(request: pytest.FixtureRequest, adb: Adb) -> Callable[..., Device]:
    return adb.by_server if request.param == "server" else adb.directly


@pytest.fixture
def opened() -> Iterator[Opened]:
    links: list[AdbTransport] = []

    def connect(device: Device) -> AdbTransport:
        link = AdbTransport(device)
        links.append(link)
        link.open()
        return link

    yield connect
    for link in links:
        link.close()


@pytest.fixture
def link(way: Callable[..., Device], shared_phone: AndroidTarget, opened: Opened) -> AdbTransport:
    return opened(way(shared_phone))
