"""Opening and closing: cleanly, with writes still to flush, and after the process was killed with everything in the log."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from bench.child import ask
from bench.data import make_entries
from bench.harness import Case, Effort
from bench.index.scale import BATCH
from bench.index.shape import Shape
from bench.index.ticks import Batches
from bench.peers import INDEX_PEERS, IndexPeer, Settings, index_peer
from bench.session import Session

__all__ = ["child", "run_killed"]

_BUFFER_BYTES = 256 << 20
"""Of the write buffer: everything stays in the log."""

_EFFORT = Effort(5, least_rounds=3, budget_s=20)


def _put_all(kind: type[IndexPeer], path: Path, batches: Batches) -> IndexPeer:
    peer = kind(path, Settings(write_buffer_bytes=_BUFFER_BYTES))
    for batch in batches:
        peer.put_many(batch)
    return peer


def child(subject: str, path: str, entries: int, value_bytes: int, seed: int) -> None:
    """Put everything, then die as a killed process does. Never returns."""
    _put_all(index_peer(subject), Path(path), make_entries(entries, value_bytes, seed).batches(BATCH))
    os.kill(os.getpid(), signal.SIGKILL)


def run_killed(session: Session, group: str, shapes: tuple[Shape, ...]) -> None:
    """Rows about stores whose entries were never flushed: closing them, and opening them after a kill."""
    kinds = [kind for kind in session.request.chosen(INDEX_PEERS) if kind.durable and kind.name not in session.missing]
    for shape in dict.fromkeys(full.scaled(session.request.scale) for full in shapes):
        names = (f"close, {shape} unflushed", f"open after kill -9 and first get, {shape} unflushed")
        root = session.request.scratch / f"{group}-{shape.entries}"
        root.mkdir(exist_ok=True)
        order = {"entries": shape.entries, "value_bytes": shape.value_bytes, "seed": session.request.seed}
        if not session.request.wants(*names) or session.late(f"{group}: {shape} unflushed"):
            continue
        entries = make_entries(shape.entries, shape.value_bytes, session.request.seed)
        if session.request.wants(names[0]):
            batches = entries.batches(BATCH)
            work = {kind.name: _closing(kind, root / f"close-{kind.name}", batches) for kind in kinds}
            session.measure(Case(names[0], "close", "ms", "lower", work, session.missing, group), _EFFORT)
        if session.request.wants(names[1]) and not session.late(f"{group}: {names[1]}"):
            work, missing = {}, dict(session.missing)
            at = int(entries.order[-1])
            for kind in kinds:
                done = session.busy(f"killing {kind.name}")
                try:
                    ask("killed", subject=kind.name, path=str(root / kind.name), **order)
                    work[kind.name] = _recovery(kind, root / kind.name, entries.keys[at], entries.values[at])
                except RuntimeError as error:
                    missing[kind.name] = f"failed: {error}"
                finally:
                    done()
            session.measure(Case(names[1], "open killed", "ms", "lower", work, missing, group), _EFFORT)
        shutil.rmtree(root, ignore_errors=True)


def _closing(kind: type[IndexPeer], path: Path, batches: Batches) -> Callable[[], float]:
    """A round: milliseconds of the close of a store that was just filled and not flushed."""

    def once() -> float:
        peer = _put_all(kind, path, batches)
        began = time.perf_counter()
        peer.close()
        taken = time.perf_counter() - began
        shutil.rmtree(path, ignore_errors=True)
        return taken * 1e3

    return once


def _recovery(kind: type[IndexPeer], killed: Path, key: bytes, value: bytes) -> Callable[[], float]:
    """A round: milliseconds to open a copy of what the killed process left, and to find its last write there."""
    copy = killed.with_name(f"{killed.name}-copy")

    def once() -> float:
        shutil.copytree(killed, copy)
        began = time.perf_counter()
        peer = kind(copy, Settings(write_buffer_bytes=_BUFFER_BYTES))
        found = peer.get(key)
        taken = time.perf_counter() - began
        peer.close()
        shutil.rmtree(copy)
        if found != value:
            msg = "the last write is lost"
            raise RuntimeError(msg)
        return taken * 1e3

    return once
