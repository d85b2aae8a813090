"""An emulated Android: started, changed while it runs, and stopped, from the outside."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from harness.adb_protocol import MAX_PAYLOAD, VERSION, VERSION_WITH_CHECKSUMS
from harness.emulation.android.auth import same_key
from harness.emulation.android.image import Image
from harness.emulation.android.phone import Phone
from harness.emulation.android.sandbox import REBOOT
from harness.emulation.target import Target, Tell
from harness.errors import HarnessError, MissingToolError, UsageError, suggest

#: Seconds until a device that was started must answer.
START_TIMEOUT = 30

#: Seconds that it may take to end by itself.
STOP_TIMEOUT = 10

#: What the daemon gets of the environment; commands on the device can read it.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR")

#: Whether a new key is accepted: the user's tap on the phone.
Accept = Callable[[str], bool]


class AndroidTarget(Target):
    """An Android in a folder of this machine; see ``target.Target``.

    ``port`` 0 takes a free one of the loopback interface. ``folder`` keeps the phone's data;
    without one they go when it stops. ``authorized_keys`` are files like adb's ``adbkey.pub``,
    by default the user's own key; ``accept_new_keys`` decides about others, which stay
    unauthorised without it. ``checksums`` speaks the protocol's old version, ``features`` are
    what adbd can do since Android 7, ``max_payload`` is the longest packet in bytes. ``data_mb``
    makes the data a disk of that size in memory. ``reboot_seconds`` is how long it is away for a
    reboot.
    """

    name = "android"

    def __init__(
        self,
        *,
        port: int = 0,
        folder: Path | None = None,
        authorized_keys: Sequence[Path] | None = None,
        accept_new_keys: bool | Accept = False,
        authenticate: bool = True,
        checksums: bool = False,
        features: bool = True,
        max_payload: int = MAX_PAYLOAD,
        phone: Phone | None = None,
        data_mb: int = 0,
        reboot_seconds: float = 1.0,
    ) -> None:
        self.phone = phone or Phone()
        self.title = f"Android {self.phone.release} in a folder ({self.phone.abi})"
        self.port = port
        self._kept = folder
        self._key_files = authorized_keys
        self._accept = accept_new_keys
        self._authenticate = authenticate
        self._version = VERSION_WITH_CHECKSUMS if checksums else VERSION
        self._features, self._max_payload = features, max_payload
        self._data_mb = data_mb
        self._reboot_seconds = reboot_seconds
        self._image: Image | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._failure = ""
        self._supervisor: threading.Thread | None = None
        self._owned: IO[str] | None = None

    # -- life -----------------------------------------------------------------------------

    def prepare(self, tell: Tell) -> None:
        """Nothing of it is kept between two devices."""

    def start(self, tell: Tell) -> str:
        """Start it; returns a device profile that reaches it.

        Raises ``MissingToolError`` where the system does not allow it.
        """
        if self._supervisor is not None:
            raise UsageError("this emulated Android has been started already")
        if sys.platform != "linux":
            raise MissingToolError("an emulated Android needs Linux")
        folder = self._kept or Path(tempfile.mkdtemp(prefix="edge-harness-android-"))
        self._image = Image(folder.absolute())
        try:
            self._own()
            tell("making the files of the device")
            self._image.build(self.phone)
            listener = self._listen()
            self.port = listener.getsockname()[1]
            tell(f"starting its daemon on 127.0.0.1:{self.port}")
            self._launch(listener)
            self._supervisor = threading.Thread(target=self._supervise, daemon=True)
            self._supervisor.start()
            if not self._ready.wait(START_TIMEOUT) or self._failure:
                raise self._explain()
        except BaseException:
            self.stop()
            raise
        return self.profile()

    def stop(self) -> None:
        """End it and everything that runs on it."""
        self._stopping.set()
        with self._lock:
            process, link = self._process, self._link
            if link is not None:
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
        if process is not None:
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._supervisor is not None and self._supervisor.is_alive():
            self._supervisor.join()
        if self._owned is not None:
            self._owned.close()
        if self._image is not None and self._kept is None:
            shutil.rmtree(self._image.folder, ignore_errors=True)

    @property
    def serial(self) -> str:
        """What adb calls it once it is connected."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """The folder of this machine that the device has as ``/data``."""
        return self._files.data

    @property
    def log(self) -> str:
        """What its daemon wrote to stderr: nothing, unless it has a defect."""
        path = self._files.folder / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _files(self) -> Image:
        if self._image is None:
            raise UsageError("this emulated Android has not been started")
        return self._image

    def profile(self) -> str:
        """A device profile that reaches it directly, and how to reach it by the server."""
        return f"""# Directly. By adb's server: adb connect {self.serial}
# and, in place of host and port: serial = "{self.serial}"
title = "{self.phone.model} (emulated, Android {self.phone.release}, {self.phone.abi})"
transport = "adb"
kind = "emulated"
host = "127.0.0.1"
port = {self.port}
"""

    # -- while it runs --------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Change fields of its ``Phone``: battery, temperatures, governor, properties."""
        fields = {field.name for field in dataclasses.fields(Phone)}
        for name in changes:
            if name not in fields:
                raise UsageError(f"a phone has no {name!r}", hint=suggest(name, fields))
        self.phone = dataclasses.replace(self.phone, **changes)
        self._files.update(self.phone, governor="governor" in changes)

    def governor(self) -> str:
        """The governor that its first processor has now, whoever set it."""
        return self._files.governors()[0].read_text().strip()

    def cut(self) -> None:
        """Break every connection, as a pulled cable does."""
        self._say({"do": "cut"})

    def _own(self) -> None:
        """Take the folder, which is made anew, from everybody else; raises ``HarnessError``."""
        folder = self._files.folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owned = open(folder / "lock", "w")  # noqa: SIM115  for as long as it runs
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            busy = isinstance(error, BlockingIOError)
            raise HarnessError(
                f"cannot use {folder} for an emulated Android: "
                f"{'another one runs in it' if busy else error.strerror}",
                hint="give each a folder of its own",
            ) from None

    # -- the daemon -----------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self.port))
            listener.listen(64)
        except OSError as error:
            listener.close()
            raise HarnessError(
                f"cannot listen on 127.0.0.1:{self.port}: {error.strerror}",
                hint="choose another port, or 0 for a free one",
            ) from None
        return listener

    def _launch(self, listener: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        phone = self.phone
        settings = {
            "folder": str(self._files.folder),
            "listener": listener.fileno(),
            "outside": theirs.fileno(),
            "version": self._version,
            "authenticate": self._authenticate,
            "features": self._features,
            "max_payload": self._max_payload,
            "data_mb": self._data_mb,
            "temporary": self._kept is None,
            "identity": [
                ("ro.product.name", phone.device),
                ("ro.product.model", phone.model),
                ("ro.product.device", phone.device),
            ],
        }
        env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        env["PYTHONPATH"] = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
        with listener, theirs, open(self._files.folder / "daemon.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.emulation.android.daemon", json.dumps(settings)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=env, pass_fds=(listener.fileno(), theirs.fileno()),
            )  # fmt: skip
        with self._lock:
            self._process, self._link = process, ours

    def _supervise(self) -> None:
        """Answer the daemon; start it again after a reboot."""
        while True:
            process, link = self._process, self._link
            assert process is not None and link is not None
            with contextlib.suppress(OSError, ValueError), link.makefile("r") as lines:
                for line in lines:
                    self._heard(json.loads(line), link)
            code = process.wait()
            with self._lock:
                link.close()
                self._link = None
            if code != REBOOT or self._stopping.wait(self._reboot_seconds):
                break
            try:
                self._files.update(self.phone)
                listener = self._listen_again()
            except HarnessError as error:
                self._failure = str(error)
                break
            self._launch(listener)
            if self._stopping.is_set():
                self._hang_up()
        self._ready.set()

    def _hang_up(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._link is not None:
                self._link.shutdown(socket.SHUT_RDWR)

    def _listen_again(self) -> socket.socket:
        """The same port; connections of the old device may hold it for a moment."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return self._listen()
            except HarnessError:
                if time.monotonic() > deadline or self._stopping.wait(0.1):
                    raise

    def _say(self, message: dict[str, Any]) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._link is not None:
                self._link.sendall(json.dumps(message).encode() + b"\n")

    def _heard(self, message: dict[str, Any], link: socket.socket) -> None:
        if message.get("tell") == "ready":
            self._ready.set()
        elif message.get("tell") == "failed":
            self._failure = f"{message['step']}: {message['reason']}"
        elif message.get("ask") == "keys":
            self._say({"id": message["id"], "answer": self._keys()})
        elif message.get("ask") == "accept":
            # The user may take a while.
            threading.Thread(target=self._tap, args=(message,), daemon=True).start()

    def _keys(self) -> list[str]:
        found = [] if self._key_files is not None else self._own_keys()
        for path in (*(self._key_files or ()), self._files.folder / "adb_keys"):
            with contextlib.suppress(OSError):
                found += path.read_text(errors="replace").splitlines()
        return [line for line in found if line.strip("\0 ")]

    @staticmethod
    def _own_keys() -> list[str]:
        """The user's own key: its public half need not be beside the private one."""
        # Not for the daemon, which imports this module on its way.
        from harness.transports.adb_keys import public_half, user_key_path

        with contextlib.suppress(OSError, ValueError, TypeError):
            return [public_half(user_key_path()).decode()]
        return []

    def _tap(self, message: dict[str, Any]) -> None:
        key = str(message["key"])
        known = any(same_key(key, other) for other in self._keys())
        accepted = known or (self._accept(key) if callable(self._accept) else self._accept)
        if accepted and not known:
            with open(self._files.folder / "adb_keys", "a") as stream:
                stream.write(" ".join(key.split()) + "\n")
        self._say({"id": message["id"], "answer": accepted})

    def _explain(self) -> HarnessError:
        if self._failure:
            return MissingToolError(
                f"cannot make the emulated Android: {self._failure}",
                hint="it needs user namespaces (user.max_user_namespaces above 0; on Ubuntu "
                "kernel.apparmor_restrict_unprivileged_userns=0; in Docker --privileged) and "
                "Linux 5.12",
            )
        tail = " ".join(self.log.split("\n")[-4:]).strip()
        return HarnessError(f"the emulated Android did not start: {tail or 'no answer'}")
