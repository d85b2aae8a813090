"""The files of a simulated device: the answers of ``store.sh``, without a shell."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from harness.devices.store_reply import StoreReply, parse
from harness.transports.modelled import files
from harness.transports.scripts import script
from harness.transports.transport import Place, Upload

TOKEN = "0123456789abcdef"
GOOD, OTHER = b"the file", b"another one"


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def by_shell(*arguments: str) -> StoreReply:
    command = ["sh", "-c", script("store.sh"), "store.sh", *arguments]
    return parse(subprocess.run(command, capture_output=True, check=True).stdout, "shell")


def modelled(*arguments: str) -> StoreReply:
    return parse(files.answer(arguments).stdout, "modelled")


def seen(reply: StoreReply) -> tuple[set[str], dict[str, int], dict[str, int], dict[str, int]]:
    return reply.has, reply.blobs, reply.parts, reply.gone


def test_it_answers_as_the_script_does(tmp_path: Path) -> None:
    marks = [f"{name_of(data)}:" for data in (GOOD, OTHER)]
    for who in (by_shell, modelled):
        root = tmp_path / who.__name__
        found = [seen(who("look", str(root), TOKEN, *marks))]
        for data, content in ((GOOD, GOOD), (OTHER, b"damaged on the way")):
            (root / "parts" / f"{name_of(data)}.{TOKEN}").write_bytes(content)
        found.append(seen(who("look", str(root), TOKEN)))
        found.append(seen(who("commit", str(root), TOKEN, *marks)))
        found.append(seen(who("look", str(root), TOKEN, *marks)))
        (root / "parts" / f"{name_of(OTHER)}.{TOKEN}").write_bytes(b"some")
        (root / "parts" / f"{name_of(OTHER)}.ffffffffffffffff").write_bytes(b"of another host")
        found.append(seen(who("drop", str(root), TOKEN)))
        found.append(seen(who("look", str(root), TOKEN)))
        found.append(seen(who("evict", str(root), TOKEN, marks[0])))
        found.append(seen(who("look", str(root), TOKEN, *marks)))
        (root / "blobs" / name_of(GOOD)).write_bytes(b"damaged in its place")
        found.append(seen(who("look", str(root), TOKEN, marks[0])))
        (root / "blobs" / name_of(GOOD)).write_bytes(GOOD)
        (root / "parts" / "somebody's").write_bytes(b"not ours")
        found.append(seen(who("clean", str(root), TOKEN)))
        assert [path.name for path in root.rglob("*") if path.is_file()] == ["somebody's"]
        if who is by_shell:
            wanted = found
    assert found == wanted
    assert wanted[2][0] == {name_of(GOOD)} and len(wanted[1][2]) == 2


@pytest.mark.parametrize(
    "arguments", [(), ("look",), ("steal", "/x", TOKEN), ("look", "/x", "../")]
)
def test_what_is_no_request_is_refused(arguments: tuple[str, ...]) -> None:
    assert files.answer(arguments).exit_code == 2


def test_devices_share_a_file_and_not_its_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    local = tmp_path / "local"
    local.write_bytes(GOOD)
    placed = []
    for device in ("one", "two"):
        root = tmp_path / "cache" / device
        files.answer(["look", str(root), TOKEN])
        remote = root / "parts" / f"{name_of(GOOD)}.{TOKEN}"
        sent: list[int] = []
        wanted = Place(str(root / "blobs" / name_of(GOOD)), name_of(GOOD))
        assert files.place(Upload(local, str(remote), 0, wanted), sent.append)
        assert sent == [len(GOOD)]
        assert modelled("commit", str(root), TOKEN, f"{name_of(GOOD)}:").has == {name_of(GOOD)}
        placed.append(root / "blobs" / name_of(GOOD))
    assert placed[0].samefile(placed[1]) and not local.samefile(placed[0])
    # Whoever damages one, as nobody may, finds it out at the next look; the pool is made anew.
    placed[0].write_bytes(b"damaged")
    assert not modelled("look", str(placed[0].parent.parent), TOKEN, f"{name_of(GOOD)}:").has
    again = tmp_path / "cache" / "one" / "parts" / f"{name_of(GOOD)}.{TOKEN}"
    assert files.place(Upload(local, str(again), 0, wanted), lambda _: None)
    assert again.read_bytes() == GOOD and local.read_bytes() == GOOD
