"""A thread that ticks every 5 ms, as a server's event loop does, beside a store at work. Each run is a process of its own.

The store's writer overwrites entries of a filled store, so that it flushes and merges all the time; a run that saw no compaction
is an error, not a figure. Ticks that fall due during a stall are late too, each by its own wait: none is left out.
"""

from __future__ import annotations

import gc
import itertools
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bench.child import ask
from bench.data import make_entries
from bench.harness import Row
from bench.index.scale import BATCH
from bench.peers import BACKGROUND_PEERS, IndexPeer, Settings, index_peer
from bench.session import Session

Batches: TypeAlias = list[list[tuple[bytes, bytes]]]

__all__ = ["TICK_S", "child", "done_since", "drive", "during", "lateness", "paced", "run_ticks"]

TICK_S = 0.005

_ENTRIES = 1_000_000

_BUFFER_BYTES = 2 << 20
"""Of the write buffer: small, so that a window of seconds sees many flushes and several compactions."""

_WINDOW_S = 10.0

_PATIENCE = 5
"""Windows that a run waits for its first compaction."""

_ROUNDS = 3

_PACES = {"25,000 a second": (25_000.0, ""), "as fast as they go": (0.0, " full")}
"""Entries a second, and what is added to the rows' keys: targets are for background work beside a server that does other things,
not for a thread that keeps the interpreter busy by itself."""

_BARE = ("nothing", "driver alone")
"""No load; and the writer's loop around a store that forgets everything: what the load costs by itself."""


def lateness(until: threading.Event, found: list[float]) -> None:
    """Append, for every tick until the event is set, the seconds it came too late."""
    now, sleep = time.perf_counter, time.sleep
    due = now()
    while not until.is_set():
        due += TICK_S
        wait = due - now()
        if wait > 0:
            sleep(wait)
        found.append(now() - due)


def during(window_s: float, stop: threading.Event, threads: list[threading.Thread]) -> None:
    """Run the threads for so long: until the event is set, which ends them."""
    for thread in threads:
        thread.start()
    stop.wait(window_s)
    stop.set()
    for thread in threads:
        thread.join()


def paced(stop: threading.Event, work: Callable[[], object], every_s: float) -> None:
    """Do it every so often, until the event is set."""
    due = time.perf_counter()
    while not stop.is_set():
        work()
        due += every_s
        stop.wait(max(due - time.perf_counter(), 0))


def drive(peer: IndexPeer | None, batches: Batches, pace: float, until: threading.Event) -> int:
    """Put batches, over and over, at ``pace`` entries a second (0: as fast as they go), until the event is set."""
    put_many = peer.put_many if peer else dict
    began = time.perf_counter()
    done = 0
    for batch in itertools.cycle(batches):
        if until.is_set():
            return done
        put_many(batch)
        done += len(batch)
        wait = began + done / pace - time.perf_counter() if pace else 0
        if wait > 0:
            time.sleep(wait)
    return done


def done_since(peer: IndexPeer, before: dict[str, float]) -> dict[str, float]:
    """Background work since ``before``."""
    return {what: round(count - before.get(what, 0.0), 1) for what, count in peer.background().items()}


def compacted(work: dict[str, float]) -> bool:
    """Whether any of it was a compaction."""
    return any(count > 0 for what, count in work.items() if "compact" in what)


def open_filled(subject: str, path: str, entries: int, seed: int, buffer_bytes: int) -> tuple[IndexPeer, Batches]:
    """A filled, settled store, and the batches it was filled by."""
    peer = index_peer(subject)(Path(path), Settings(write_buffer_bytes=buffer_bytes))
    batches = make_entries(entries, 28, seed).batches(BATCH)
    for batch in batches:
        peer.put_many(batch)
    peer.flush()
    peer.settle()
    gc.collect()
    gc.freeze()
    return peer, batches


def child(subject: str, path: str, entries: int, seed: int, window_s: float, pace: float, buffer_bytes: int) -> dict[str, object]:
    """One run: lateness in milliseconds, and the background work done meanwhile."""
    peer, batches = None, make_entries(min(entries, 10_000), 28, seed).batches(BATCH)
    if subject not in _BARE:
        peer, batches = open_filled(subject, path, entries, seed, buffer_bytes)
    stop = threading.Event()
    found: list[float] = []
    ticker = threading.Thread(target=lateness, args=(stop, found))
    before = dict(peer.background()) if peer else {}
    ends = (
        threading.Timer(window_s, stop.set)
        if peer is None
        else threading.Thread(target=_end, args=(peer, before, window_s, stop))
    )
    ticker.start()
    ends.start()
    written = 0 if subject == _BARE[0] else drive(peer, batches, pace, stop)
    ticker.join()
    ends.join()
    work = done_since(peer, before) if peer else {}
    if peer:
        peer.close()
        if not compacted(work):
            msg = f"no compaction within {_PATIENCE * window_s:g} s: not the load that is meant"
            raise RuntimeError(msg)
    late = np.array(found) * 1e3
    return {
        "p99": float(np.quantile(late, 0.99)),
        "max": float(late.max()),
        "written": written,
        "ticks": len(found),
        "work": work,
    }


def _end(peer: IndexPeer | None, before: dict[str, float], window_s: float, stop: threading.Event) -> None:
    """End the run after the window, or the one in which the first compaction is done; a stuck run ends too."""
    for _ in range(_PATIENCE):
        time.sleep(window_s)
        if peer is None or compacted(done_since(peer, before)):
            break
    stop.set()


def run_ticks(session: Session, group: str) -> None:
    """Rows at each pace: p99 by the median of the rounds, maximum by the worst of them."""
    scale = session.request.scale
    order = {
        "entries": max(5_000, int(_ENTRIES * scale)),
        "window_s": max(0.2, _WINDOW_S * min(1.0, scale)),
        "buffer_bytes": max(64 << 10, int(_BUFFER_BYTES * min(1.0, scale))),
        "seed": session.request.seed,
    }
    subjects = [*_BARE, *(kind.name for kind in session.request.chosen(BACKGROUND_PEERS))]
    for words, (pace, suffix) in _PACES.items():
        names = [f"5 ms tick, p99 late, puts {words}", f"5 ms tick, worst late, puts {words}"]
        if not session.request.wants(*names) or session.late(f"{group}: {names[0]}"):
            continue
        p99 = Row(names[0], f"tick p99{suffix}", "ms", "lower", {}, group=group)
        worst = Row(names[1], f"tick max{suffix}", "ms", "lower", {}, group=group, summary="worst")
        for number in range(_ROUNDS if scale >= 1 else 1):
            session.rng.shuffle(subjects)
            for subject in subjects:
                if subject in p99.missing:
                    continue
                home = str(session.request.scratch / f"ticks-{subject}-{number}")
                done = session.busy(f"ticks, puts {words}: {subject}")
                try:
                    found = ask("ticks", subject=subject, path=home, pace=pace, **order)
                except RuntimeError as error:
                    p99.missing[subject] = worst.missing[subject] = f"failed: {error}"
                    continue
                finally:
                    done()
                    shutil.rmtree(home, ignore_errors=True)
                p99.samples.setdefault(subject, []).append(found["p99"])
                worst.samples.setdefault(subject, []).append(found["max"])
                p99.notes[subject] = _told(found)
        for row in (p99, worst):
            session.add(row)


def _told(found: dict[str, object]) -> str:
    """The last round's load, in words."""
    work = found["work"]
    assert isinstance(work, dict)
    parts = [
        f"{found['ticks']} ticks",
        f"{found['written']:,} entries put",
        *(f"{count:g} {what}" for what, count in work.items()),
    ]
    return "last round: " + ", ".join(parts)
