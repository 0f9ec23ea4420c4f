"""YCSB's core workloads A to F, with their published mixes, in their order of running: A, B, C, F, D, then E.

All subjects are asked the same operations. Inserted keys are new; everyone keeps what the workloads before have left.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data import Entries
from bench.harness import Case, Effort
from bench.index.draws import Drawer, zipf_ranks
from bench.index.fill import Filled
from bench.index.lines import filled_stores
from bench.index.shape import Shape
from bench.peers import INDEX_PEERS, IndexPeer
from bench.session import Session
from lsmkv.lab.named import YCSB

__all__ = ["WORKLOADS", "Mix", "Operation", "operations", "run_ycsb"]

_EFFORT = Effort(5, least_rounds=3, budget_s=10)

_OPERATIONS = 20_000

_LONGEST_SCAN = YCSB["E"].phases[0].scan_entries[1]
"""Pairs; every length from 1 on is as likely."""

GET, UPDATE, INSERT, SCAN, MODIFY = range(5)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the operations of a workload."""

    name: str
    what: str
    read: float = 0.0
    update: float = 0.0
    insert: float = 0.0
    scan: float = 0.0
    modify: float = 0.0
    latest: bool = False
    """Whether reads prefer what was inserted last, rather than a fixed set of popular keys."""


def _mix(letter: str) -> Mix:
    """One of the laboratory's workloads, in YCSB's words."""
    workload = YCSB[letter]
    mix, keys = workload.phases[0].mix, workload.phases[0].keys
    return Mix(letter, workload.about, mix.present, mix.overwrite, mix.put, mix.scan, mix.modify, latest=keys == "latest")


WORKLOADS = tuple(map(_mix, "ABCFDE"))
"""In their order of running."""

Operation = tuple[int, bytes, bytes, int]
"""What, the key, the value to write, the pairs to scan."""


def operations(mix: Mix, entries: Entries, fresh: Iterator[bytes], size: int, seed: int) -> list[Operation]:
    """``size`` operations; keys of inserts come from ``fresh``, values are those of other entries."""
    drawer = Drawer(entries, seed)
    rng = drawer.rng
    shares = (mix.read, mix.update, mix.insert, mix.scan, mix.modify)
    kinds = rng.choice(len(shares), size, p=shares).tolist()
    keys, values, count = entries.keys, entries.values, len(entries.keys)
    places = drawer.positions("zipfian", size).tolist()
    others = rng.integers(0, count, size).tolist()
    lengths = rng.integers(1, _LONGEST_SCAN + 1, size).tolist()
    ranks = zipf_ranks(count, size, rng).tolist() if mix.latest else places
    order = entries.order
    inserted: list[bytes] = []
    drawn: list[Operation] = []
    for kind, place, rank, other, length in zip(kinds, places, ranks, others, lengths, strict=True):
        key = keys[place]
        if kind == INSERT:
            key = next(fresh)
            inserted.append(key)
        elif mix.latest:  # rank 0 is the newest: this round's inserts, then the load's last ones
            key = inserted[-1 - rank] if rank < len(inserted) else keys[order[max(0, count - 1 - rank + len(inserted))]]
        drawn.append((kind, key, values[other], length))
    return drawn


def _new_keys(entries: Entries) -> Iterator[bytes]:
    """Keys that are not there: the absent ones, then more of their shape."""
    yield from entries.absent
    width = len(entries.keys[0])
    rng = np.random.default_rng(99)
    while True:
        yield b"\0\0\0\2" + rng.bytes(width - 4)


def _run(peer: IndexPeer, wanted: list[Operation]) -> float:
    """Operations a second."""
    get, put, scan = peer.get, peer.put, peer.scan
    began = time.perf_counter()
    for kind, key, value, length in wanted:
        if kind == GET:
            get(key)
        elif kind == SCAN:
            scan(key, length)
        else:
            if kind == MODIFY:
                get(key)
            put(key, value)
    return len(wanted) / (time.perf_counter() - began)


def run_ycsb(session: Session, group: str, shapes: tuple[Shape, ...]) -> None:
    """Every workload over stores of every shape."""
    for shape in dict.fromkeys(full.scaled(session.request.scale) for full in shapes):
        size = max(100, int(_OPERATIONS * min(1.0, session.request.scale)))

        def use(filled: Filled, entries: Entries, _: Path, shape: Shape = shape, size: int = size) -> None:
            fresh = _new_keys(entries)
            for peer in filled.peers.values():
                peer.start_mixing()
            for number, mix in enumerate(WORKLOADS):
                name = f"YCSB {mix.name}: {mix.what}, {shape}"
                if not session.request.wants(name):
                    continue
                rounds = _EFFORT.rounds + _EFFORT.warmups
                drawn = [operations(mix, entries, fresh, size, 100 * number + turn) for turn in range(rounds)]
                work = {subject: _rounds(peer, drawn) for subject, peer in filled.peers.items()}
                missing = session.missing | filled.missing
                session.measure(Case(name, f"ycsb {mix.name}", "ops/s", "higher", work, missing, group), _EFFORT)

        filled_stores(session, group, shape, INDEX_PEERS, use)


def _rounds(peer: IndexPeer, drawn: list[list[Operation]]) -> Callable[[], float]:
    turns = itertools.cycle(drawn)
    return lambda: _run(peer, next(turns))
