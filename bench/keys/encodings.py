"""Three encodings of a page's key: anchored and flat, which the product has, and the path of raw tokens, which it has not.

The path of tokens is the textbook trie: the key of a page is every token up to its end, so pages of one sequence are neighbours
and a subtree is a range. It costs bytes in proportion to the square of a prompt's length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.keys.anchored import anchored_keys
from lsmkv_tensor.keys.chain import chain_digests

__all__ = ["ENCODINGS", "Encoding"]

Encoding = Callable[[NDArray[np.uint32], int], list[bytes]]
"""Token ids and tokens a page -> the keys of its pages."""

_SEED = bytes(32)
_KEY_BYTES = 28


def _anchored(tokens: NDArray[np.uint32], page_tokens: int) -> list[bytes]:
    return anchored_keys(_SEED, chain_digests(_SEED, tokens, page_tokens))


def _flat(tokens: NDArray[np.uint32], page_tokens: int) -> list[bytes]:
    return [digest[:_KEY_BYTES] for digest in chain_digests(_SEED, tokens, page_tokens)]


def _token_path(tokens: NDArray[np.uint32], page_tokens: int) -> list[bytes]:
    path = tokens.astype(">u4").tobytes()
    step = 4 * page_tokens
    return [path[:end] for end in range(step, len(path) + 1, step)]


ENCODINGS: dict[str, Encoding] = {"anchored": _anchored, "flat": _flat, "token path": _token_path}
"""By the name in the tables."""
