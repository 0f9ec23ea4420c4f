"""Anchored keys: the pages of one sequence as neighbours in the index.

::

    namespace 4 | anchor 12 | index 2 (big-endian) | digest 14          32 bytes; the store puts the first 4 in front

Pages are taken in groups of 64. The anchor is the digest of the prefix before the group (the namespace's digest for the
first), the index the page's position in its group, the digest the page's own. So a group's pages stand together, in order,
in about one index block, and a lookup of 512 pages touches 8 places instead of 512. A plain digest as the key would scatter
them; the token path as the key (the textbook trie) takes 512 KB for a long prompt.

Branches of a conversation interleave inside a group, and the next group has a fresh anchor: what lies below a page is *not*
a key range. :mod:`lsmkv_tensor.keys.trails` records the way down.

Truncation: two prefixes are confused only if 12 bytes of one digest and 14 of another collide together; SHA-256 leaves no
shorter way than trying 2^104 prompts within one group.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ANCHOR_BYTES", "DIGEST_BYTES", "GROUP_PAGES", "INDEX_BYTES", "anchored_keys", "child_anchor", "page_index"]

ANCHOR_BYTES = 12
INDEX_BYTES = 2
DIGEST_BYTES = 14

GROUP_PAGES = 64
"""Pages that share an anchor: their 64 index entries are about one index block."""


def anchored_keys(seed: bytes, digests: Sequence[bytes]) -> list[bytes]:
    """The 28-byte keys of a prefix's pages from their chain digests; ``seed`` is the digest before the first."""
    keys: list[bytes] = []
    for start in range(0, len(digests), GROUP_PAGES):
        anchor = (digests[start - 1] if start else seed)[:ANCHOR_BYTES]
        group = digests[start : start + GROUP_PAGES]
        keys += [anchor + at + digest[:DIGEST_BYTES] for at, digest in zip(_INDEX, group, strict=False)]
    return keys


def page_index(key: bytes) -> int:
    """A key's position in its group, 0..63."""
    return int.from_bytes(key[ANCHOR_BYTES : ANCHOR_BYTES + INDEX_BYTES], "big")


def child_anchor(key: bytes) -> bytes:
    """The anchor of the group that follows the page of this key, the last of its own group.

    The digest in the key is longer than an anchor, so no record is needed to know it.
    """
    assert page_index(key) == GROUP_PAGES - 1
    return key[ANCHOR_BYTES + INDEX_BYTES :][:ANCHOR_BYTES]


_INDEX = [i.to_bytes(INDEX_BYTES, "big") for i in range(GROUP_PAGES)]
