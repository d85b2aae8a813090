"""Keys of adb: who may connect.

The device sends 20 random bytes and the client signs them as if they were a SHA-1 digest
(PKCS #1 v1.5).
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1

from harness.adb_protocol import TOKEN_BYTES, read_key


def public_key(text: str) -> RSAPublicKey:
    """The key of a line of ``adbkey.pub``; raises ``ValueError``."""
    modulus, exponent = read_key(text)
    return RSAPublicNumbers(exponent, modulus).public_key()


def same_key(one: str, other: str) -> bool:
    """Whether two lines are one key, whatever their comments."""
    first, second = (text.replace("\0", "").split()[:1] for text in (one, other))
    return bool(first) and first == second


def new_token() -> bytes:
    """What a client has to sign."""
    return secrets.token_bytes(TOKEN_BYTES)


def signed_by(text: str, token: bytes, signature: bytes) -> bool:
    """Whether ``signature`` over ``token`` was made with the private half of a key."""
    try:
        public_key(text).verify(signature, token, PKCS1v15(), Prehashed(SHA1()))  # noqa: S303  adb's own
    except (ValueError, InvalidSignature):
        return False
    return True
