"""Private keys: passphrases, asked for once, as ``ssh`` does, and files that are none."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import paramiko

from harness.cache import expanded

#: Seconds for a program that asks somebody.
_ASK_TIMEOUT = 300

#: As often as ``ssh`` asks.
_TRIES = 3

#: Keys by file, or ``None`` where nobody could unlock it: every device of a run asks once.
_known: dict[str, paramiko.PKey | None] = {}
_one_at_a_time = threading.Lock()


def unlocked(files: Sequence[str], why: str) -> list[paramiko.PKey]:
    """Those of the encrypted keys that somebody unlocks; each is asked for once in a process.

    Asked is the program that ``SSH_ASKPASS`` names, else whoever sits at the terminal; with
    neither, nobody. ``why`` says for which device.
    """
    with _one_at_a_time:
        for file in files:
            if file not in _known and _encrypted(file):
                _known[file] = _ask_for(file, why)
        return [key for file in files if (key := _known.get(file)) is not None]


class NoPrivateKeyError(paramiko.SSHException):
    """A file that was named as a key and holds none that can be read."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(f"{file} {why}")
        self.file = file


def meant(error: Exception, files: Sequence[str]) -> Exception:
    """What is wrong, where a server that answers was offered the keys of these files.

    paramiko tries a file as each type of key and tells only of the last type, whatever the
    server said of the key.
    """
    of_link = isinstance(error, OSError) and error.filename not in files
    of_server = isinstance(error, paramiko.BadHostKeyException)
    if of_link or of_server or not files:
        return error
    found = [_problem(file) for file in files]
    known = [problem for problem in found if problem is not None]
    known.sort(key=lambda item: isinstance(item, NoPrivateKeyError))  # others can be unlocked
    return known[0] if known else paramiko.AuthenticationException("refused")


def _problem(file: str) -> paramiko.SSHException | None:
    try:
        paramiko.PKey.from_path(file)
    except (TypeError, paramiko.PasswordRequiredException):  # the former: the ciphers' library
        return paramiko.PasswordRequiredException(f"{file} is encrypted")
    except OSError as error:
        return NoPrivateKeyError(file, f"cannot be read: {error.strerror}")
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        return NoPrivateKeyError(file, "is no private key")
    return None


def _encrypted(file: str) -> bool:
    return isinstance(_problem(file), paramiko.PasswordRequiredException)


def _ask_for(file: str, why: str) -> paramiko.PKey | None:
    for turn in range(_TRIES):
        again = "Bad passphrase, try again: " if turn else ""
        said = _ask(f"{again}passphrase for {file} ({why}): ")
        if not said:
            return None
        try:
            return paramiko.PKey.from_path(file, said.encode())  # type: ignore[arg-type]  # bytes
        except (OSError, TypeError, ValueError, paramiko.SSHException):
            continue
    return None


def _ask(prompt: str) -> str:
    program = os.environ.get("SSH_ASKPASS")
    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    prefers = os.environ.get("SSH_ASKPASS_REQUIRE") in ("force", "prefer")
    if program and (prefers or not terminal):
        try:
            done = subprocess.run(
                [str(expanded(program)), prompt], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, timeout=_ASK_TIMEOUT, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ""
        text = done.stdout.decode("utf-8", "replace").rstrip("\r\n")
        return text if done.returncode == 0 else ""
    if not terminal or os.environ.get("SSH_ASKPASS_REQUIRE") == "force":
        return ""
    try:
        return getpass.getpass(f"\n{prompt}")
    except (EOFError, OSError):
        return ""
