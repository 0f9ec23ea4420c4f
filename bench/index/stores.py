"""Stores filled for the rows that read: loaded, checked, warmed."""

from __future__ import annotations

import contextlib
import random
from typing import TypeAlias

from bench.data import Entries
from bench.index.scale import BATCH, SCAN, Bench
from bench.peers import INDEX_PEERS, IndexPeer, Settings

__all__ = ["Opened", "load", "verify", "warm"]

_LOAD_BATCH = 4096

_WARM_GETS = 700_000
"""Most single gets before a store is measured, and seven for ten entries: each block is met some forty times."""

Opened: TypeAlias = dict[str, IndexPeer]


def load(bench: Bench, stack: contextlib.ExitStack, what: str, settings: Settings, parts: int) -> Opened:
    """Every store with all entries, inserted in random order in ``parts`` runs; compacted when it is one."""

    def load_one(kind: type[IndexPeer]) -> IndexPeer:
        done = bench.session.busy(f"loading {kind.name}")
        home = bench.home(what, kind.name)
        peer = kind(home, settings)
        count = len(bench.entries.keys)
        step = -(-count // parts)
        for part in range(0, count, step):
            for start in range(part, min(part + step, count), _LOAD_BATCH):
                peer.put_many(bench.entries.pairs(start, min(start + _LOAD_BATCH, part + step)))
            peer.end_run()
        if parts == 1 and peer.durable:
            peer.compact()
            peer.close()  # what was written is not to answer from a write buffer
            peer = kind(home, settings)
        stack.callback(peer.close)
        peer.start_reading()
        verify(peer, bench.entries)
        warm(peer, bench.entries)
        done()
        return peer

    return bench.session.open_each(INDEX_PEERS, load_one)


def verify(peer: IndexPeer, entries: Entries) -> None:
    """Refuse to measure a store that answers wrongly."""
    sample = list(range(0, len(entries.keys), max(1, len(entries.keys) // 200)))
    keys = [entries.keys[i] for i in sample]
    values = [entries.values[i] for i in sample]
    absent = entries.absent[: len(keys)]
    right = (
        [peer.get(key) for key in keys] == values
        and [peer.get(key) for key in absent] == [None] * len(absent)
        and list(peer.get_many(keys + absent)) == values + [None] * len(absent)
        and [bool(x) for x in peer.contains_many(keys + absent)] == [True] * len(keys) + [False] * len(absent)
        and peer.scan(keys[0], SCAN) == list(zip(entries.keys[:SCAN], entries.values[:SCAN], strict=True))
    )
    if not right:
        msg = f"{peer.name} gave a wrong answer; nothing about its speed would mean anything"
        raise RuntimeError(msg)


def warm(peer: IndexPeer, entries: Entries) -> None:
    """Bring caches into the state of a running store: read everything once, in batches, then many keys one by one.

    The second part is what shapes a cache: which blocks stay, and in what form, is decided by single gets.
    """
    for start in range(0, len(entries.keys), BATCH):
        peer.get_many(entries.keys[start : start + BATCH])
    get = peer.get
    for key in random.Random(len(entries.keys)).choices(entries.keys, k=min(_WARM_GETS, 7 * len(entries.keys) // 10)):
        get(key)
