"""The helper scripts under every shell that devices have: the same store, the same answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from harness.devices.store_reply import StoreReply, parse
from harness.transports.scripts import script
from tests.support import needed

TOKEN = "0123456789abcdef"

#: Shell -> the command; busybox and toybox bring their own tools in place of the machine's.
SHELLS = {
    "dash": ["dash"],
    "bash": ["bash", "--posix"],
    "busybox": ["busybox", "ash"],
    "mksh": ["mksh"],
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], str]:
    """A shell and the PATH under which it finds tools of its own kind."""
    command = SHELLS[request.param]
    program = shutil.which(command[0])
    if program is None:
        needed(f"there is no {command[0]} (Debian: {command[0]})")
    if request.param != "busybox":
        return [program, *command[1:]], os.environ["PATH"]
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in subprocess.check_output([program, "--list"], text=True).split():
        (tools / name).symlink_to(program)
    return [program, *command[1:]], str(tools)


def store(shell: tuple[list[str], str], op: str, root: str, *marks: str) -> StoreReply:
    command, path = shell
    done = subprocess.run(
        [*command, "-c", script("store.sh"), "store.sh", op, root, TOKEN, *marks],
        capture_output=True, env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return parse(done.stdout, "here")


def part(root: Path, content: bytes, mark: str = "") -> str:
    name = hashlib.sha256(content).hexdigest()
    (root / "parts" / f"{name}.{TOKEN}").write_bytes(content)
    return f"{name}:{mark}"


ODD = [
    "plain",
    "with space",
    "quo'te \"s",
    "new\nline",
    "ends\n",
    "-rf",
    "$(touch owned)",
    "naïve*",
]


@pytest.mark.parametrize("name", ODD)
def test_the_life_of_a_store(shell: tuple[list[str], str], tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    reply = store(shell, "look", str(root))
    assert Path(reply.root) == root and reply.free_bytes and not reply.has
    good, other = part(root, b"content"), part(root, b"program", "x")
    wrong = part(root, b"what was sent")
    (root / "parts" / f"{wrong[:64]}.{TOKEN}").write_bytes(b"what arrived")
    seen = store(shell, "look", str(root))
    assert seen.parts[f"{good[:64]}.{TOKEN}"] == 7
    done = store(shell, "commit", str(root), good, other, wrong, "0" * 64 + ":")
    assert done.has == {good[:64], other[:64]}
    assert not list((root / "parts").iterdir())
    assert os.access(root / "blobs" / other[:64], os.X_OK)
    assert not os.access(root / "blobs" / good[:64], os.X_OK)
    assert (root / "blobs").stat().st_mode & 0o077 == 0
    os.utime(root / "blobs" / other[:64], (1, 1))
    seen = store(shell, "look", str(root), good, wrong)
    assert seen.has == {good[:64]} and list(seen.blobs) == [good[:64], other[:64]]
    (root / "blobs" / good[:64]).write_bytes(b"damaged")
    assert not store(shell, "look", str(root), good).has
    assert not (root / "blobs" / good[:64]).exists()
    store(shell, "evict", str(root), f"{other[:64]}:")
    assert not list((root / "blobs").iterdir())
    (root / "mine").write_text("not the harness's")
    part(root, b"more")
    gone = store(shell, "clean", str(root)).gone
    assert list(gone.values()) == [4]
    assert [item.name for item in root.iterdir()] == ["mine"]
    assert not (tmp_path / "owned").exists() and not Path("owned").exists()


def test_stale_parts_go_and_fresh_ones_stay(shell: tuple[list[str], str], tmp_path: Path) -> None:
    root = tmp_path / "store"
    store(shell, "look", str(root))
    old, new = part(root, b"old"), part(root, b"new")
    hour = time.time() - 4000
    os.utime(root / "parts" / f"{old[:64]}.{TOKEN}", (hour, hour))
    assert list(store(shell, "look", str(root)).parts) == [f"{new[:64]}.{TOKEN}"]


def test_a_folder_of_the_home(shell: tuple[list[str], str], tmp_path: Path) -> None:
    command, path = shell
    done = subprocess.run(
        [*command, "-c", script("store.sh"), "store.sh", "look", "~/.cache/x y", TOKEN],
        capture_output=True, env={"PATH": path, "HOME": str(tmp_path)}, check=True,
    )  # fmt: skip
    assert Path(parse(done.stdout, "here").root) == tmp_path / ".cache" / "x y"


@pytest.mark.parametrize(
    "bad", ["../../etc/passwd:", "ABC:", "0" * 63 + ":", "0" * 65 + ":", "$(id):"]
)
def test_what_is_no_name_is_refused(shell: tuple[list[str], str], tmp_path: Path, bad: str) -> None:
    command, path = shell
    done = subprocess.run(
        [*command, "-c", script("store.sh"), "store.sh", "evict", str(tmp_path), TOKEN, bad],
        capture_output=True, env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and b"not a sha256" in done.stderr


@pytest.mark.parametrize("frame", ["frames", "rest"])
@pytest.mark.parametrize("when", ["beside", "after"])
def test_files_on_stdin(
    shell: tuple[list[str], str], tmp_path: Path, frame: str, when: str
) -> None:
    """Two files and a script over one stdin, the first file going on where it was cut."""
    command, path = shell
    one, two = os.urandom(200_000), bytes(300_000)
    (tmp_path / "one").write_bytes(one[:1000])
    first = f"put 1000 200000 plain frames {when} {tmp_path}/one {sha(one)} x {tmp_path}/ONE\n"
    rest = one[1000:]
    body = b"%d\n" % 150_000 + rest[:150_000] + b"%d\n" % len(rest[150_000:]) + rest[150_000:]
    import gzip

    packed = gzip.compress(two)
    second = f"put 0 300000 gzip {frame} {when} {tmp_path}/two {sha(two)} - {tmp_path}/TWO\n"
    last = b"%d\n%s0\n" % (len(packed), packed) if frame == "frames" else packed
    done = subprocess.run(
        [*command, "-c", script("serve.sh"), "serve.sh"], capture_output=True,
        input=b"run abc echo\\0040\\0042$1\\0042\\0073exit\\00403 name x\\0012y\n"
        + first.encode() + body + b"0\n" + second.encode() + last,
        env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"ready many gzip\nx\ny\n\nabc 3\n\nabc end\nplaced\nplaced\n")
    assert (tmp_path / "ONE").read_bytes() == one and (tmp_path / "TWO").read_bytes() == two
    assert os.access(tmp_path / "ONE", os.X_OK) and not (tmp_path / "one").exists()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_stream_that_ends_early_leaves_what_came(
    shell: tuple[list[str], str], tmp_path: Path
) -> None:
    command, path = shell
    line = f"put 0 500 plain rest beside {tmp_path}/file {'0' * 64} - {tmp_path}/FILE\n"
    done = subprocess.run(
        [*command, "-c", script("serve.sh"), "serve.sh"], capture_output=True,
        input=line.encode() + b"x" * 300, env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 3 and (tmp_path / "file").read_bytes() == b"x" * 300
    assert not (tmp_path / "FILE").exists()
