"""Keys of adb: who may connect.

The device sends 20 random bytes and the client signs them as if they were a SHA-1 digest
(PKCS #1 v1.5). A public key is the base64 of adb's RSA structure, a blank and a comment.
Source: AOSP packages/modules/adb ``adb_auth.h``, system/core/libcrypto_utils
``android_pubkey.c``.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1

TOKEN_BYTES = 20

_BITS = 2048
_WORDS = _BITS // 32
#: Words of the modulus, -1/n[0] mod 2^32, modulus, R^2 mod n, exponent; little-endian.
_STRUCT = struct.Struct(f"<II{_BITS // 8}s{_BITS // 8}sI")


def public_key(text: str) -> RSAPublicKey:
    """The key of a line of ``adbkey.pub``; raises ``ValueError``."""
    words = text.replace("\0", "").split()
    try:
        data = base64.b64decode(words[0] if words else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("an adb key is not base64") from None
    if len(data) != _STRUCT.size:
        raise ValueError(f"an adb key has {_STRUCT.size} bytes, not {len(data)}")
    count, _, modulus, _, exponent = _STRUCT.unpack(data)
    if count != _WORDS:
        raise ValueError(f"an adb key has {_WORDS} words, not {count}")
    return RSAPublicNumbers(exponent, int.from_bytes(modulus, "little")).public_key()


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
