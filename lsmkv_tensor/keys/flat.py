"""Flat keys: an engine's own page digest, cut to the width of the index.

Engines hash their pages themselves. Where that hash is cryptographic and long enough its first 28 bytes are as good an
identity as all of it (2^112 work to forge a collision), and no hashing is needed here; anything else is hashed with
SHA-256 first. Which namespace a key belongs to is not part of it: the page store puts its number in front.

``namespace 4 | first 28 bytes of the digest``
"""

from __future__ import annotations

import hashlib

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["KEY_BYTES", "flat_key"]

KEY_BYTES = 28
"""Bytes of a page key inside its namespace; the index puts the 4-byte namespace number in front."""


def flat_key(key: bytes | str) -> bytes:
    """The 28-byte key of an engine's page key.

    Bytes of at least 28 and hexadecimal text of at least 56 digits are taken as a digest: its first 28 bytes. Anything
    shorter, and text that is not hexadecimal, is replaced by the SHA-256 of its bytes (UTF-8). A digest gives the same key
    whether passed as bytes or as lower- or upper-case hexadecimal.
    """
    if isinstance(key, str):
        digest = _from_hex(key)
        return digest if digest is not None else hashlib.sha256(key.encode()).digest()[:KEY_BYTES]
    if not isinstance(key, bytes):
        msg = f"page key must be bytes or str, not {type(key).__name__}"
        raise InvalidArgumentError(msg)
    return key[:KEY_BYTES] if len(key) >= KEY_BYTES else hashlib.sha256(key).digest()[:KEY_BYTES]


def _from_hex(text: str) -> bytes | None:
    """The first 28 bytes of a hexadecimal digest of at least that length, else None."""
    if len(text) < 2 * KEY_BYTES or len(text) % 2 or not _HEX.issuperset(text):
        return None
    return bytes.fromhex(text)[:KEY_BYTES]


_HEX = frozenset("0123456789abcdefABCDEF")
