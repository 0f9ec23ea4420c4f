"""Flat keys: an engine's own page digest, cut to the width of the index.

``namespace 4 | first 28 bytes of the digest``

Engines hash their pages themselves. Where that hash is cryptographic and long enough its first 28 bytes are as good an
identity as all of it (2^112 work to forge a collision), and no hashing is needed here; anything else is hashed with SHA-256
first. A digest is recognised by its length, 28 (cut before), 32, 48 or 64 bytes: a shorter rule, "at least 28", would take
the beginning of ``b"model-a/rank-0/layer-12/page-0001"`` for an identity and hand out one page for another. A key that has
such a length and is no digest must be hashed by its owner. Which namespace a key belongs to is not part of it: the page store
puts its number in front.
"""

from __future__ import annotations

import hashlib

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["DIGEST_BYTES", "KEY_BYTES", "flat_key"]

KEY_BYTES = 28
"""Bytes of a page key inside its namespace; the index puts the 4-byte namespace number in front."""


def flat_key(key: bytes | bytearray | str) -> bytes:
    """The 28-byte key of an engine's page key.

    Bytes of a digest's length (28, 32, 48 or 64), and hexadecimal text of one, give their first 28 bytes: a digest has the
    same key as bytes and as lower- or upper-case text. Anything else gives the first 28 bytes of the SHA-256 of its bytes
    (text as UTF-8).
    """
    if isinstance(key, str):
        digest = _from_hex(key)
        return digest if digest is not None else hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]
    if isinstance(key, bytearray):
        key = bytes(key)
    elif not isinstance(key, bytes):
        msg = f"page key must be bytes, a bytearray or str, not {type(key).__name__}"
        raise InvalidArgumentError(msg)
    return key[:KEY_BYTES] if len(key) in DIGEST_BYTES else hashlib.sha256(key).digest()[:KEY_BYTES]


def _from_hex(text: str) -> bytes | None:
    """The first 28 bytes of a digest in hexadecimal, None if it is none."""
    if len(text) % 2 or len(text) // 2 not in DIGEST_BYTES or not _HEX.issuperset(text):
        return None
    return bytes.fromhex(text)[:KEY_BYTES]


DIGEST_BYTES = frozenset({KEY_BYTES, 32, 48, 64})
"""A key of ours; SHA-256, SHA-384, SHA-512 (and BLAKE2, BLAKE3 of these lengths)."""

_HEX = frozenset("0123456789abcdefABCDEF")
