"""The RSA keys by which Android devices know a machine: those of ``adb`` itself.

``~/.android/adbkey`` (PKCS #8, PEM) with ``adbkey.pub`` (base64 of Android's own structure, then
``user@host``), made where they are missing; and the keys of ``$ADB_VENDOR_KEYS``, files or folders
with ``*.adb_key``, as in ``auth.cpp`` of Android's adb.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from harness.adb_protocol import KEY_BITS, write_key
from harness.cache import expanded
from harness.errors import AuthenticationError


@dataclass(frozen=True)
class AdbKey:
    """A private key that was read."""

    path: Path
    private: rsa.RSAPrivateKey

    def sign(self, token: bytes) -> bytes:
        """The answer to a device's question."""
        return self.private.sign(token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1()))  # noqa: S303  the protocol's own

    def public(self) -> bytes:
        """What a device shows and keeps: base64 and a name."""
        return public_text(self.private)


def public_text(private: rsa.RSAPrivateKey) -> bytes:
    """What stands in ``adbkey.pub``."""
    numbers = private.public_key().public_numbers()
    return write_key(numbers.n, numbers.e) + _owner().encode()


def public_half(path: Path) -> bytes:
    """The public half of a private key; raises ``OSError``, ``ValueError``, ``TypeError``."""
    return _read(path).public()


def user_key_path() -> Path:
    """Where ``adb`` keeps the user's own key."""
    return expanded("~/.android/adbkey")


def load_keys(setting: str | None = None) -> list[AdbKey]:
    """The user's key first (or that of ``setting``), then the vendors'.

    The user's key is made if there is none. Raises ``AuthenticationError`` for one that others
    may read, or that is none. Vendors' keys are shared by nature, and skipped if they are none.
    """
    own = expanded(setting) if setting else user_key_path()
    if not setting and not own.exists():
        make_key(own)
    keys = [_own_key(own)]
    for entry in filter(None, os.environ.get("ADB_VENDOR_KEYS", "").split(os.pathsep)):
        path = Path(entry)
        files = sorted(path.glob("*.adb_key")) if path.is_dir() else [path]
        for file in files:
            with contextlib.suppress(OSError, ValueError, TypeError):
                if file.resolve() != own.resolve():
                    keys.append(_read(file))
    return keys


def make_key(path: Path) -> None:
    """Make a key and its public half; who comes second keeps the first one's."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".adbkey-", dir=path.parent)  # mode 0600
        try:
            with open(handle, "wb") as file:
                file.write(text)
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
                path.with_name(path.name + ".pub").write_bytes(public_text(private))
        finally:
            os.unlink(part)
    except OSError as error:
        raise AuthenticationError(f"cannot make the adb key {path}: {error.strerror}") from None


def _own_key(path: Path) -> AdbKey:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise AuthenticationError(
                f"the adb key {path} can be read by others (mode {mode:04o}): whoever has it "
                "has your devices",
                hint=f"make it private: chmod 600 {path}",
            )
        return _read(path)
    except OSError as error:
        raise AuthenticationError(
            f"cannot read the adb key {path}: {error.strerror}",
            hint="leave `adb_key` of this device out to use that of adb",
        ) from None
    except (ValueError, TypeError) as error:
        raise AuthenticationError(
            f"the adb key {path} is none: {error}",
            hint="an RSA key of 2,048 bits in PEM, without a password; make one: "
            f"adb keygen {path}",
        ) from None


def _read(path: Path) -> AdbKey:
    # Whether its numbers are primes is not ours to prove, and takes longer than to connect.
    private = serialization.load_pem_private_key(
        path.read_bytes(), None, unsafe_skip_rsa_key_validation=True
    )
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size != KEY_BITS:
        raise ValueError("Android takes only RSA keys of 2,048 bits")
    return AdbKey(path, private)


def _owner() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f" {user}@{socket.gethostname() or 'unknown'}"
