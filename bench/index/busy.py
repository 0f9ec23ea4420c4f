"""Single gets at the 99th percentile: while compactions run, and in a large store against a small one.

The first is measured in a process per subject and round: first the reader alone, once it gets no faster any more, then beside a
thread that goes through the motions of writing, then beside one that feeds flushes and compactions at a steady pace. A run that
saw no compaction is an error, not a figure. The memory of processes that a store has started is told with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.child import ask
from bench.data import Entries, make_entries
from bench.harness import Case, Effort, Row
from bench.index.draws import Drawer
from bench.index.fill import Filled, fill
from bench.index.lines import filled_stores
from bench.index.ops import timed_gets
from bench.index.shape import Shape
from bench.index.ticks import Batches, compacted, done_since, drive, open_filled
from bench.peers import BACKGROUND_PEERS, INDEX_PEERS, IndexPeer
from bench.session import Session

__all__ = ["child", "run_busy", "run_size"]

_ENTRIES = 1_000_000

_BUFFER_BYTES = 1 << 20

_PACE = 50_000.0
"""Entries a second that the writer puts: some eight flushes a second. Of the window a compaction runs in about half, a flush in
most of the time."""

_WINDOW_S = 8.0

_PATIENCE = 5

_STEADY = 0.9
"""A window whose tail is not shorter than this share of the one before: it is warm."""

_NO_NEWS = 2
"""So many such windows in a row."""

_ROUNDS = 3

_KEYS = 5_000
"""Gets between two looks at the clock."""


def _window(peer: IndexPeer, draw: Callable[[], list[bytes]], enough: Callable[[float], bool]) -> float:
    """Microseconds at the 99th percentile of the gets until ``enough(seconds gone)``."""
    get, now = peer.get, time.perf_counter_ns
    began = time.perf_counter()
    taken: list[int] = []
    while not enough(time.perf_counter() - began):
        for key in draw():
            start = now()
            get(key)
            taken.append(now() - start)
    return float(np.quantile(np.array(taken), 0.99)) / 1e3


def child(subject: str, path: str, entries: int, seed: int, window_s: float, pace: float, buffer_bytes: int) -> dict[str, object]:
    """One run: p99 in microseconds, idle and busy, and the background work of the busy window."""
    peer, batches = open_filled(subject, path, entries, seed, buffer_bytes)
    drawer = Drawer(make_entries(entries, 28, seed), seed)
    gc.collect()
    gc.freeze()  # the harness's own lists: a collection that walks them stops every thread for 80 ms

    def draw() -> list[bytes]:
        return drawer.keys("uniform", _KEYS)

    _warm(peer, draw, window_s / 2)
    idle = _window(peer, draw, lambda gone: gone > window_s)
    with _driving(None, batches, pace):
        driver = _window(peer, draw, lambda gone: gone > window_s)
    before = dict(peer.background())

    def enough(gone: float) -> bool:
        return gone > window_s and (gone > window_s * _PATIENCE or compacted(done_since(peer, before)))

    with _driving(peer, batches, pace):
        busy = _window(peer, draw, enough)
        work = done_since(peer, before) | _helpers()
    peer.close()
    if not compacted(work):
        msg = f"no compaction within {_PATIENCE * window_s:g} s: not the load that is meant"
        raise RuntimeError(msg)
    return {"idle": idle, "driver": driver, "busy": busy, "work": work}


def _warm(peer: IndexPeer, draw: Callable[[], list[bytes]], window_s: float) -> None:
    """Read until two windows in a row bring no shorter tail: what a store makes for hot tables is made by then."""
    least, idle = float("inf"), 0
    for _ in range(2 * _PATIENCE):
        now = _window(peer, draw, lambda gone: gone > window_s)
        idle = idle + 1 if now > least * _STEADY else 0
        least = min(least, now)
        if idle == _NO_NEWS:
            return


def _helpers() -> dict[str, float]:
    """MiB of memory that processes started by this one have, if there are any."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    children = [int(pid) for path in lists for pid in path.read_text().split()]
    return {"MiB in helper processes": sum(map(_resident_mib, children))} if children else {}


def _resident_mib(pid: int) -> float:
    """MiB of memory that a process has; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    return next((round(int(line.split()[1]) / 1024) for line in text.splitlines() if line.startswith("VmRSS")), 0.0)


@contextlib.contextmanager
def _driving(peer: IndexPeer | None, batches: Batches, pace: float) -> Iterator[None]:
    """A thread puts batches meanwhile; None: it goes through the motions."""
    stop = threading.Event()
    writer = threading.Thread(target=drive, args=(peer, batches, pace, stop))
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def run_busy(session: Session, group: str) -> None:
    """p99 idle, beside the driver alone, beside compactions; and the last over the first, round by round."""
    scale = session.request.scale
    order = {
        "entries": max(5_000, int(_ENTRIES * scale)),
        "window_s": max(0.2, _WINDOW_S * min(1.0, scale)),
        "buffer_bytes": max(64 << 10, int(_BUFFER_BYTES * min(1.0, scale))),
        "pace": _PACE,
        "seed": session.request.seed,
    }
    names = {
        "idle": "get p99, no background work",
        "driver": "get p99, beside the driver alone",
        "busy": "get p99, while compactions run",
        "ratio": "get p99, compacting over idle",
    }
    if not session.request.wants(*names.values()) or session.late(f"{group}: {names['busy']}"):
        return
    rows = {what: Row(name, f"p99 {what}", "us", "lower", {}, group=group) for what, name in names.items()}
    rows["ratio"].key, rows["ratio"].unit = "p99 busy over idle", "x idle"
    subjects = [kind.name for kind in session.request.chosen(BACKGROUND_PEERS)]
    for number in range(_ROUNDS if scale >= 1 else 1):
        session.rng.shuffle(subjects)
        for subject in subjects:
            if subject in rows["busy"].missing:
                continue
            home = str(session.request.scratch / f"busy-{subject}-{number}")
            done = session.busy(f"get p99 beside compactions: {subject}")
            try:
                found = ask("busy", subject=subject, path=home, **order)
            except RuntimeError as error:
                for row in rows.values():
                    row.missing[subject] = f"failed: {error}"
                continue
            finally:
                done()
                shutil.rmtree(home, ignore_errors=True)
            found["ratio"] = found["busy"] / found["idle"]
            for what, row in rows.items():
                row.samples.setdefault(subject, []).append(found[what])
            told = ", ".join(f"{count:g} {what}" for what, count in found["work"].items())
            rows["busy"].notes[subject] = f"last round: {told}"
    for row in rows.values():
        session.add(row)


def run_size(session: Session, group: str, shape: Shape) -> None:
    """p99 of a store over that of one with a hundredth of the entries, both open, by turns."""
    large = shape.scaled(session.request.scale)
    small = replace(large, entries=max(500, large.entries // 100))
    sizes = (large, small)
    names = [f"get p99, {size}" for size in sizes] + [f"get p99, {large} over {small}"]
    if not session.request.wants(*names):
        return
    effort = session.effort(Effort(9, least_rounds=3, budget_s=20))

    def use(filled: Filled, entries: Entries, root: Path) -> None:
        few = make_entries(small.entries, small.value_bytes, session.request.seed + 1)
        kinds = [kind for kind in INDEX_PEERS if kind.name in filled.peers]
        others = fill(session, small, few, kinds, root / "small", rounds=1, compact=True)
        try:
            draws = {large: Drawer(entries, session.request.seed), small: Drawer(few, session.request.seed)}
            found: dict[Shape, dict[str, list[float]]] = {size: {name: [] for name in others.peers} for size in sizes}

            def turn(name: str) -> Callable[[], float]:
                def once() -> float:
                    for size, peer in ((large, filled.peers[name]), (small, others.peers[name])):
                        keys = draws[size].keys("uniform", max(500, int(20_000 * min(1.0, session.request.scale))))
                        found[size][name].append(timed_gets(peer, keys))
                    return found[large][name][-1] / found[small][name][-1]

                return once

            missing = session.missing | filled.missing | others.missing
            work = {name: turn(name) for name in others.peers}
            session.measure(Case(names[2], "p99 size", "x", "lower", work, missing, group), effort)
            for name, size in zip(names, sizes, strict=False):
                samples = {subject: taken[effort.warmups :] for subject, taken in found[size].items() if taken}
                session.add(Row(name, "p99", "us", "lower", samples, dict(missing), group))
        finally:
            others.close()

    filled_stores(session, group, large, INDEX_PEERS, use)
