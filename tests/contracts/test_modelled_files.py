"""The files of a simulated device: the answers of ``store.sh``, without a shell."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from harness.devices.store_reply import StoreReply, parse
from harness.transports.modelled import files, sweeps
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


def test_the_pool_keeps_what_devices_have_and_no_more_than_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(10):
        (pool / f"{number:064x}").write_bytes(bytes(1000))
        os.utime(pool / f"{number:064x}", (number, 1))
    os.link(pool / f"{0:064x}", tmp_path / "blob")  # the oldest, and a device has it
    (pool / ".part-old").write_bytes(bytes(5000))
    (pool / ".part-new").write_bytes(b"")
    files.prune(pool, 4500, keep=f"{1:064x}")
    # Of ten, four: the one a device has, the one that is being placed, and the last two used.
    left = {path.name for path in pool.iterdir() if not path.name.startswith(".")}
    assert left == {f"{number:064x}" for number in (0, 1, 8, 9)}
    monkeypatch.setattr(files, "_STALE", -1)
    files.prune(pool, 10**6)
    assert len(list(pool.iterdir())) == 4
    files.prune(pool, 0)
    assert [path.name for path in pool.iterdir()] == [f"{0:064x}"]
    files.prune(tmp_path / "nowhere", 0)
    assert (tmp_path / "blob").read_bytes() == bytes(1000)


def test_a_placed_file_bounds_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "POOL_BYTES", 2500)
    for number in range(5):
        local = tmp_path / f"{number}"
        local.write_bytes(bytes([number]) * 1000)
        sha = hashlib.sha256(local.read_bytes()).hexdigest()
        remote = tmp_path / "remote"
        upload = Upload(local=local, remote=str(remote), place=Place(str(remote), sha))
        assert files.place(upload, lambda done: None)
        assert remote.read_bytes() == local.read_bytes()
    pool = tmp_path / "cache" / "host" / "simulated" / "pool"
    assert sum(path.stat().st_size for path in pool.iterdir()) <= 2500


def test_outputs_are_shared_by_what_computed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that another machine fills too: its kernels, so its outputs, may be others."""
    for name in ("model", "samples"):
        (tmp_path / name).write_bytes(name.encode())
    request = {name: {"path": str(tmp_path / name)} for name in ("model", "samples")}
    here = sweeps._recording(request)
    assert here == sweeps._recording(request)
    monkeypatch.setattr(sweeps, "_processor", lambda: ("another",))
    assert sweeps._recording(request) != here
