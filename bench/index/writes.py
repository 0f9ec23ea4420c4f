"""Rows that write."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from bench.index.scale import BATCH, Bench, timed
from bench.peers import INDEX_PEERS, IndexPeer, Settings

__all__ = ["measure_writes"]


def measure_writes(bench: Bench) -> None:
    """Rows that fill a fresh store a round: batches in random order with a flush at the end, and single puts."""
    names = _available(bench)
    many, single = f"put_many({BATCH}), random order", "put, one by one"
    if bench.wants(many):
        batches = bench.entries.batches(BATCH)
        count = len(bench.entries.keys)

        def put_all(peer: IndexPeer) -> float:
            return timed(lambda: _put_and_flush(peer, batches)) * 1e6 / count

        case = bench.case(many, "put_many", "us/key", list(names), lambda name: _fresh(bench, names[name], put_all))
        bench.session.measure(case, bench.scale.puts)
    if bench.wants(single):
        pairs = bench.entries.pairs(0, bench.scale.singles)

        def put_each(peer: IndexPeer) -> float:
            return timed(lambda: _put_singly(peer, pairs)) * 1e6 / len(pairs)

        case = bench.case(single, "put", "us/key", list(names), lambda name: _fresh(bench, names[name], put_each))
        bench.session.measure(case, bench.scale.reads)


def _available(bench: Bench) -> dict[str, type[IndexPeer]]:
    """The kinds that open here, found out by opening each once."""
    kinds = {kind.name: kind for kind in INDEX_PEERS}
    opened = bench.session.open_each(INDEX_PEERS, lambda kind: kind(bench.home("probe", kind.name), Settings()))
    for peer in opened.values():
        peer.close()
    shutil.rmtree(bench.root, ignore_errors=True)
    return {name: kinds[name] for name in opened}


def _fresh(bench: Bench, kind: type[IndexPeer], work: Callable[[IndexPeer], float]) -> Callable[[], float]:
    """A round on a new, empty store that is removed afterwards."""

    def once() -> float:
        home = bench.home("fresh", kind.name)
        peer = kind(home, Settings())
        try:
            return work(peer)
        finally:
            peer.close()
            shutil.rmtree(home, ignore_errors=True)

    return once


def _put_and_flush(peer: IndexPeer, batches: list[list[tuple[bytes, bytes]]]) -> None:
    put_many = peer.put_many
    for batch in batches:
        put_many(batch)
    peer.flush()


def _put_singly(peer: IndexPeer, pairs: list[tuple[bytes, bytes]]) -> None:
    put = peer.put
    for key, value in pairs:
        put(key, value)
