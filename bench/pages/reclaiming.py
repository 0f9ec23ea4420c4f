"""Single gets at the 99th percentile while segments are reclaimed, against the same store idle.

One run is a process: the reader alone, then beside a thread that makes pages and stores nothing, then beside one that stores
them, so that segments are reclaimed all the time and what the reader uses is moved. A run that saw no segment reclaimed is an
error, not a figure.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from bench.child import ask
from bench.harness import Row
from bench.session import Session
from bench.targets import OURS

__all__ = ["child", "run_reclaiming"]

_PAGE_BYTES = 64 << 10
_BATCH = 64
_PACE_S = 0.05
"""Seconds between batches: 80 MiB/s."""
_CAPACITY_BYTES, _QUICK_CAPACITY_BYTES = 512 << 20, 64 << 20
_SEGMENTS = 32
_QUEUE_BYTES = 64 << 20
_READ_SHARE = 16
"""The reader chooses from a sixteenth of the store's pages."""
_WINDOW_S = 8.0
_ROUNDS = 3
_LEAST_RECLAIMED = 2
_MOST_MISSED = 0.05
_PATIENCE = 20
"""Windows that a busy one may last until so much was reclaimed: a reader that never waits leaves a writer little."""


def child(path: str, window_s: float, capacity_bytes: int) -> dict[str, float]:
    """One run: p99 in microseconds, idle, beside the driver alone and busy; and the work of the busy window."""
    from lsmkv_tensor import PageStore, StoreOptions  # noqa: PLC0415 - optional: it needs the extra "tensor"

    pages = np.random.default_rng(1).integers(0, 256, (_BATCH, _PAGE_BYTES), np.uint8)
    spare = np.empty_like(pages)
    rng = np.random.default_rng(2)
    number = itertools.count(1)
    wanted = _keys(0, capacity_bytes // _PAGE_BYTES // _READ_SHARE)
    options = StoreOptions(capacity_bytes=capacity_bytes, segment_bytes=capacity_bytes // _SEGMENTS, put_queue_bytes=_QUEUE_BYTES)
    with PageStore.open(path, options=options) as store:
        ns = store.namespace({"bench": "reclaiming"}, _PAGE_BYTES)
        out = np.empty((1, _PAGE_BYTES), np.uint8)

        def window(seconds: float, enough: Callable[[], bool] = lambda: True) -> tuple[float, float]:
            """Gets for so long, and up to _PATIENCE times as long until it is enough."""
            return _window(
                lambda key: ns.get_into([key], out)[0],
                wanted,
                rng,
                lambda gone: gone > seconds and (enough() or gone > seconds * _PATIENCE),
            )

        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            ns.put_many(part, pages[: len(part)], wait=True)
        while store.stats().recycled_segments == 0:
            ns.put_many(_keys(next(number)), pages, wait=True)
            window(0.01)
        window(window_s / 4)
        idle, _ = window(window_s)
        with _driving(lambda: np.copyto(spare, pages)):
            driver, _ = window(window_s)
        before = store.stats()
        with _driving(lambda: ns.put_many(_keys(next(number)), pages)):
            busy, missed = window(window_s, lambda: store.stats().recycled_segments - before.recycled_segments > _LEAST_RECLAIMED)
        after = store.stats()
    reclaimed = after.recycled_segments - before.recycled_segments
    if reclaimed < _LEAST_RECLAIMED or missed > _MOST_MISSED:
        msg = f"{reclaimed} segments were reclaimed, {missed:.0%} of the gets missed: not the load that is meant"
        raise RuntimeError(msg)
    return {
        "idle": idle,
        "driver": driver,
        "busy": busy,
        "segments reclaimed": reclaimed,
        "MiB moved": (after.gc_moved_bytes - before.gc_moved_bytes) / (1 << 20),
        "MiB stored": (after.put_stored_bytes - before.put_stored_bytes) / (1 << 20),
    }


def _keys(batch: int, count: int = _BATCH) -> list[bytes]:
    return [b"%020d%08d" % (batch, i) for i in range(count)]


def _window(
    get: Callable[[bytes], bool], keys: list[bytes], rng: np.random.Generator, enough: Callable[[float], bool]
) -> tuple[float, float]:
    """Microseconds at the 99th percentile of the gets that hit until ``enough(seconds gone)``, and the share that missed."""
    taken: list[float] = []
    missed = 0
    start = time.perf_counter()
    while not taken or not enough(time.perf_counter() - start):
        for i in rng.integers(0, len(keys), 256).tolist():
            began = time.perf_counter()
            if get(keys[i]):
                taken.append(time.perf_counter() - began)
            else:
                missed += 1
    return float(np.quantile(taken, 0.99)) * 1e6, missed / (missed + len(taken))


@contextlib.contextmanager
def _driving(work: Callable[[], object]) -> Iterator[None]:
    """A thread does the work at the pace meanwhile."""
    stop = threading.Event()

    def drive() -> None:
        due = time.perf_counter()
        while not stop.is_set():
            work()
            due = max(due + _PACE_S, time.perf_counter() - 1)  # what a second's delay missed is not made up for
            stop.wait(max(due - time.perf_counter(), 0))

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run_reclaiming(session: Session) -> None:
    """p99 idle, beside the driver alone, beside reclaiming; and the last over the first, round by round."""
    names = {
        "idle": "page get p99, idle",
        "driver": "page get p99, beside the driver alone",
        "busy": "page get p99, while segments are reclaimed",
        "ratio": "page get p99, reclaiming over idle",
    }
    if not session.request.wants(*names.values()) or session.late(names["busy"]):
        return
    rows = {what: Row(name, f"p99 {what}", "us", "lower", {}, group="scale") for what, name in names.items()}
    rows["ratio"].key, rows["ratio"].unit = "p99 busy over idle", "x idle"
    quick = session.request.quick
    order = {"window_s": 0.5 if quick else _WINDOW_S, "capacity_bytes": _QUICK_CAPACITY_BYTES if quick else _CAPACITY_BYTES}
    for number in range(1 if quick else _ROUNDS):
        home = str(session.request.scratch / f"reclaiming-{number}")
        done = session.busy("get p99 beside reclaiming")
        try:
            found = ask("pages-reclaiming", path=home, **order)
        except RuntimeError as error:
            for row in rows.values():
                row.missing[OURS] = f"failed: {error}"
            break
        finally:
            done()
            shutil.rmtree(home, ignore_errors=True)
        found["ratio"] = found["busy"] / found["idle"]
        for what, row in rows.items():
            row.samples.setdefault(OURS, []).append(found.pop(what))
        rows["busy"].notes[OURS] = "last round: " + ", ".join(f"{count:,.0f} {what}" for what, count in found.items())
    for row in rows.values():
        session.add(row)
