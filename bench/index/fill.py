"""Stores filled for the groups: one after another in random order under the clock, then checked, settled, warmed."""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.data import Entries
from bench.index.scale import BATCH
from bench.index.shape import Shape
from bench.index.stores import verify, warm
from bench.peers import IndexPeer, Settings, UnavailableError
from bench.session import Session

__all__ = ["Filled", "disk_bytes", "fill", "settings_of"]

_REST_BATCH = 4096

_LOOKS = 20

_LOOK_S = 0.1


@dataclass(slots=True)
class Filled:
    """Open stores, and what filling them told."""

    peers: dict[str, IndexPeer] = field(default_factory=dict)
    put_us: dict[str, list[float]] = field(default_factory=dict)
    """Microseconds a write, ``put_many(128)`` in random order and the flush at the end."""
    disk: dict[str, int] = field(default_factory=dict)
    """Bytes of files once background work has settled, before a compaction that is asked for."""
    missing: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def close(self) -> None:
        """Close every store."""
        for peer in self.peers.values():
            peer.close()


def settings_of(shape: Shape) -> Settings:
    """What the shape gives every subject alike."""
    return Settings(cache_bytes=shape.cache_bytes, write_buffer_bytes=shape.buffer_bytes)


def disk_bytes(home: Path) -> int:
    """Bytes of the files below ``home``."""
    total = 0
    for path in home.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def _still_bytes(home: Path) -> int:
    """As :func:`disk_bytes`, once it no longer changes: some stores remove what a compaction has emptied a moment later."""
    last = disk_bytes(home)
    for _ in range(_LOOKS):
        time.sleep(_LOOK_S)
        now = disk_bytes(home)
        if now == last:
            break
        last = now
    return last


def fill(
    session: Session, shape: Shape, entries: Entries, kinds: list[type[IndexPeer]], root: Path, *, rounds: int, compact: bool
) -> Filled:
    """Fill a store of every kind ``rounds`` times, in orders drawn anew, and leave the last ones open, warm and checked."""
    filled = Filled()
    batches = list(_batches(shape, entries, session.request.seed))
    alive = list(kinds)
    for number in range(rounds):
        session.rng.shuffle(alive)
        for kind in list(alive):
            done = session.busy(f"{shape}: filling {kind.name}")
            gc.collect()
            try:
                _fill_one(filled, shape, entries, kind, root / kind.name, batches, last=number == rounds - 1, compact=compact)
            except UnavailableError as error:
                session.missing[kind.name] = str(error)
                alive.remove(kind)
            except Exception as error:  # noqa: BLE001 - whatever a third-party binding throws, the others go on
                filled.missing[kind.name] = f"failed: {type(error).__name__}: {error}"
                filled.put_us.pop(kind.name, None)
                alive.remove(kind)
            finally:
                done()
    filled.peers = {kind.name: filled.peers[kind.name] for kind in kinds if kind.name in filled.peers}
    return filled


def _batches(shape: Shape, entries: Entries, seed: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """All writes. Overwrites follow, in another order, with the value of the neighbour; ``entries`` is told the last values."""
    yield from entries.batches(BATCH)
    count = len(entries.keys)
    again = int(count * shape.overwrites)
    if not again:
        return
    chosen = np.random.default_rng(seed + 7).permutation(count)[:again].tolist()
    values = {i: entries.values[(i + 1) % count] for i in chosen}
    for i, value in values.items():
        entries.values[i] = value
    for start in range(0, again, BATCH):
        yield [(entries.keys[i], values[i]) for i in chosen[start : start + BATCH]]


def _fill_one(
    filled: Filled,
    shape: Shape,
    entries: Entries,
    kind: type[IndexPeer],
    home: Path,
    batches: list[list[tuple[bytes, bytes]]],
    *,
    last: bool,
    compact: bool,
) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    peer = kind(home, settings_of(shape))
    try:
        taken, put = _put_all(peer, batches, shape.load_limit_s)
        writes = sum(map(len, batches))
        if put < writes:
            filled.notes[kind.name] = f"{put:,} of {writes:,} in random order in {shape.load_limit_s:g} s, the rest untimed"
        filled.put_us.setdefault(kind.name, []).append(taken * 1e6 / put)
        if not last:
            return
        peer.settle()
        filled.disk[kind.name] = _still_bytes(home) if kind.durable else 0
        if compact:
            peer.compact()
        if kind.durable:
            peer.close()  # what was written is not to answer from a write buffer
            peer = kind(home, settings_of(shape))
        peer.start_reading()
        verify(peer, entries)
        warm(peer, entries)
        filled.peers[kind.name] = peer
    finally:
        if kind.name not in filled.peers:
            peer.close()
            shutil.rmtree(home, ignore_errors=True)


def _put_all(peer: IndexPeer, batches: list[list[tuple[bytes, bytes]]], limit_s: float) -> tuple[float, int]:
    """Seconds and number of the timed writes; what is left at the limit is put in key order, which trees take quickly."""
    put_many, now = peer.put_many, time.perf_counter
    began = now()
    done = 0
    for batch in batches:
        put_many(batch)
        done += 1
        if now() - began > limit_s:
            break
    rest = batches[done:]
    if not rest:
        peer.flush()
        return now() - began, sum(map(len, batches))
    taken = now() - began
    left = sorted(dict(pair for batch in rest for pair in batch).items())
    for start in range(0, len(left), _REST_BATCH):
        put_many(left[start : start + _REST_BATCH])
    peer.flush()
    return taken, sum(map(len, batches[:done]))
