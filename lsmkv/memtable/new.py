"""Choosing a memtable by name."""

from __future__ import annotations

from typing import Literal

from lsmkv.env.rng import Rng
from lsmkv.errors import InvalidArgumentError
from lsmkv.memtable.memtable import Memtable
from lsmkv.memtable.skiplist import SkipList
from lsmkv.memtable.sorteddict import SortedKeys

__all__ = ["new_memtable"]


def new_memtable(kind: Literal["skiplist", "sorteddict"], rng: Rng) -> Memtable:
    """An empty memtable whose ordered part is of this kind; ``rng`` decides the heights of a skiplist."""
    if kind == "skiplist":
        return Memtable(SkipList(rng))
    if kind == "sorteddict":
        return Memtable(SortedKeys())
    msg = f"memtable must be 'skiplist' or 'sorteddict', not {kind!r}"
    raise InvalidArgumentError(msg)
