"""A memtable as sorted columns.

Parallel lists are safe here although they are not for readers: positions in a dict never change while nothing is removed
from it, so the i-th value belongs to the i-th key even if a writer is still adding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import is_not, itemgetter

import numpy as np

from lsmkv.base.columns import ByteColumn, Columns
from lsmkv.base.keys import Entry
from lsmkv.base.order import sort_order

__all__ = ["to_columns"]

SLICE_ENTRIES = 8192
"""Entries turned into columns by one run of C calls (about 2 ms), during which no other thread runs."""


def to_columns(newest: Mapping[bytes, Entry], older: Mapping[bytes, Sequence[Entry]]) -> Columns:
    """All versions, by key ascending and sequence number descending. ``older`` holds its versions oldest first."""
    keys = list(newest)
    entries = list(newest.values())[: len(keys)]
    for key, versions in older.items():
        # Behind the newest ones: a stable sort by key then leaves each key's versions newest first.
        keys.extend(repeat(key, len(versions)))
        entries.extend(reversed(versions))
    # Columns first, in the order of insertion, then one gather: walking the objects in sorted order costs three times as
    # much, a cache miss at every step.
    steps = range(0, len(keys), SLICE_ENTRIES)
    columns = Columns.concat([_columns(keys[at : at + SLICE_ENTRIES], entries[at : at + SLICE_ENTRIES]) for at in steps])
    order = sort_order(columns.keys)
    return Columns.concat([columns.take(order[at : at + SLICE_ENTRIES]) for at in steps])


def _columns(keys: list[bytes], entries: list[Entry]) -> Columns:
    """Entries in the given order as columns."""
    n = len(entries)
    values = list(map(itemgetter(1), entries))
    seqs = np.fromiter(map(itemgetter(0), entries), np.uint64, n)
    kinds = np.fromiter(map(is_not, values, repeat(None)), np.bool_, n)  # PUT is 1, DELETE is 0
    tags = (seqs << np.uint64(8)) | kinds.astype(np.uint64)
    present = [value or b"" for value in values]
    return Columns(ByteColumn.from_list(keys), tags, ByteColumn.from_list(present))
