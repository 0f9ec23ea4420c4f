"""Chain digests: the identity of a page is everything up to its end.

``d_i = SHA-256(d_{i-1} || tokens of page i as uint32-LE)``, ``d_{-1}`` = the namespace's digest. Equal digests mean equal
prefixes in the same namespace; nobody who shares the store can make two prefixes meet.

A prompt is usually probed, read and written in a row, and then grows at its end: :class:`KeyChain` remembers the last few
prompts and hashes only what they do not share (0.45 us a page hashed, 10 us to compare 32,768 ids).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.keys.anchored import anchored_keys

__all__ = ["KeyChain", "chain_digests"]

REMEMBERED = 4
"""Prompts kept by a chain: enough for a few conversations in turn, 130 bytes a page each."""


def chain_digests(start: bytes, tokens: NDArray[np.uint32], page_tokens: int) -> list[bytes]:
    """The 32-byte digests of the whole pages of ``tokens`` (uint32 [n]), given the digest before the first."""
    data = memoryview(tokens).cast("B") if len(tokens) else memoryview(b"")
    step = 4 * page_tokens
    sha256, digest, out = hashlib.sha256, start, []
    for at in range(0, len(data) - step + 1, step):
        digest = sha256(digest + data[at : at + step]).digest()
        out.append(digest)
    return out


class _Prompt(NamedTuple):
    """A prompt that was hashed: its whole pages' ids, and per page digest and key."""

    tokens: NDArray[np.uint32]
    digests: list[bytes]
    keys: list[bytes]


class KeyChain:
    """Page keys of prompts in one namespace. Safe to use from several threads."""

    def __init__(self, seed: bytes, page_tokens: int) -> None:
        assert len(seed) == hashlib.sha256().digest_size
        self._seed = seed
        self._page_tokens = page_tokens
        self._recent: tuple[_Prompt, ...] = ()

    def keys(self, tokens: NDArray[np.uint32]) -> Sequence[bytes]:
        """The 28-byte keys of the whole pages of ``tokens`` (uint32 [n]); do not change the list."""
        size = self._page_tokens
        tokens = tokens[: len(tokens) // size * size]
        shared, known = 0, None
        for prompt in self._recent:
            same = _same_pages(prompt.tokens, tokens, size)
            if same == len(prompt.digests) == len(tokens) // size:
                return prompt.keys
            if same > shared:
                shared, known = same, prompt
        digests = known.digests[:shared] if known else []
        digests += chain_digests(digests[-1] if digests else self._seed, tokens[shared * size :], size)
        keys = anchored_keys(self._seed, digests)
        self._remember(_Prompt(tokens.copy(), digests, keys), known if known and shared == len(known.digests) else None)
        return keys

    def _remember(self, prompt: _Prompt, grown: _Prompt | None) -> None:
        """Put a prompt in front; it replaces the one that it continues. A lost race costs hashing, nothing else."""
        if prompt.keys:
            rest = tuple(p for p in self._recent if p is not grown)
            self._recent = (prompt, *rest[: REMEMBERED - 1])


def _same_pages(a: NDArray[np.uint32], b: NDArray[np.uint32], page_tokens: int) -> int:
    """How many leading pages two prompts share."""
    n = min(len(a), len(b))
    if not n or (a[:page_tokens] != b[:page_tokens]).any():
        return 0
    differ = a[:n] != b[:n]
    at = int(differ.argmax())
    return (at if differ[at] else n) // page_tokens
