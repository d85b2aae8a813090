"""The helper scripts under every shell that devices have: the same store, the same answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
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
    first = f"put m1 1000 200000 plain frames {when} {tmp_path}/one {sha(one)} x {tmp_path}/ONE\n"
    rest = one[1000:]
    body = b"%d\n" % 150_000 + rest[:150_000] + b"%d\n" % len(rest[150_000:]) + rest[150_000:]
    import gzip

    packed = gzip.compress(two)
    second = f"put m2 0 300000 gzip {frame} {when} {tmp_path}/two {sha(two)} - {tmp_path}/TWO\n"
    last = b"%d\n%s0\n" % (len(packed), packed) if frame == "frames" else packed
    done = subprocess.run(
        [*command, "-c", script("serve.sh"), "serve.sh"], capture_output=True,
        input=b"run abc echo\\0040\\0042$1\\0042\\0073exit\\00403 name x\\0012y\nover abc\n"
        + first.encode() + body + b"0\n" + second.encode() + last,
        env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = b"\nready many gzip\n\nabc begin\nx\ny\n\nabc 3\n\nabc end\nplaced\nplaced\n"
    assert done.stdout.startswith(said)
    assert (tmp_path / "ONE").read_bytes() == one and (tmp_path / "TWO").read_bytes() == two
    assert os.access(tmp_path / "ONE", os.X_OK) and not (tmp_path / "one").exists()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_stream_that_ends_early_leaves_what_came(
    shell: tuple[list[str], str], tmp_path: Path
) -> None:
    command, path = shell
    line = f"put mark 0 500 plain rest beside {tmp_path}/file {'0' * 64} - {tmp_path}/FILE\n"
    done = subprocess.run(
        [*command, "-c", script("serve.sh"), "serve.sh"], capture_output=True,
        input=line.encode() + b"x" * 300, env={**os.environ, "PATH": path}, check=False,
    )  # fmt: skip
    assert b"\nfailed not all of it is there" in done.stdout
    assert (tmp_path / "file").read_bytes() == b"x" * 300
    assert not (tmp_path / "FILE").exists()


class Serving:
    """A running ``serve.sh``."""

    def __init__(self, command: list[str], path: str) -> None:
        self.process = subprocess.Popen(
            [*command, "-c", script("serve.sh"), "serve.sh"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PATH": path},
        )  # fmt: skip
        assert self.process.stdout and self.process.stdin
        self.said = self.process.stdout
        self.until(b"ready")

    def say(self, data: bytes) -> None:
        """Write to its stdin."""
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def until(self, word: bytes) -> bytes:
        """The next line that has the word."""
        while word not in (line := self.said.readline()):
            assert line, f"it ended before {word!r}"
        return line


@pytest.fixture
def serving(shell: tuple[list[str], str]) -> Iterator[Serving]:
    found = Serving(*shell)
    yield found
    found.process.kill()
    found.process.communicate(timeout=20)


def gone(pid: int) -> bool:
    """Whether a process has ended, within a moment."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def coded(text: str) -> bytes:
    return "".join(f"\\0{byte:03o}" for byte in text.encode()).encode()


def test_a_script_that_hangs_can_be_ended(serving: Serving) -> None:
    """With all that it has started; the shell then serves on."""
    text = coded("sh -c 'sleep 300 & echo child $!; wait' & echo main $!; wait")
    serving.say(b"run aa " + text + b" name\n")
    pids = [int(serving.until(word).split()[1]) for word in (b"main", b"child")]
    serving.say(b"stop aa\n")
    serving.until(b"aa 137")
    serving.until(b"aa end")
    assert all(map(gone, pids))
    serving.say(b"over aa\nrun bb " + coded("echo on") + b" name\n")
    serving.until(b"bb begin")
    assert serving.until(b"on") == b"on\n"


def test_a_cut_link_ends_a_script_that_hangs(serving: Serving) -> None:
    serving.say(b"run aa " + coded("echo main $$; sleep 300 & echo child $!; wait") + b" name\n")
    child = int(serving.until(b"child").split()[1])
    assert serving.process.stdin
    serving.process.stdin.close()
    assert serving.process.wait(20) == 0 and gone(child)
    serving.process.stdin = None


@pytest.mark.parametrize("when", ["beside", "after"])
def test_a_file_that_cannot_be_written_ends_nothing(
    serving: Serving, tmp_path: Path, when: str
) -> None:
    """Whatever is under way is passed over, bytes that look like requests too."""
    content = os.urandom(150_000) + b"\nput x 0 1 plain frames after /x - - -\n\0\n"
    name = f"{tmp_path}/no/such/folder"
    serving.say(
        f"put m1 0 {len(content)} plain frames {when} {name} {sha(content)} - /x\n".encode()
    )
    assert b"no/such/folder" in serving.until(b"failed")
    serving.say(b"%d\n" % len(content) + content[:100_000] + b"\nresync m1\n")
    small, place = tmp_path / "small", tmp_path / "placed"
    serving.say(f"put m2 0 5 plain frames {when} {small} {sha(b'abcde')} - {place}\n".encode())
    serving.say(b"5\nabcde0\n")
    serving.until(b"placed")
    assert place.read_bytes() == b"abcde"
