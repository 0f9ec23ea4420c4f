"""A thread that ticks every 5 ms, as a server's event loop does, beside a page store that puts, prefetches, reads and reclaims.

Each run is a process of its own. Puts go through the queue, gets read what was put a while ago, after a probe that had it read
ahead; the capacity is small, so that segments are reclaimed all the time: a run that saw none is an error, not a figure.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.child import ask
from bench.harness import Row
from bench.index.ticks import during, lateness, paced
from bench.session import Session
from lsmkv_tensor import Namespace, PageStore, StoreOptions

__all__ = ["child", "run_page_ticks"]

_PAGE_BYTES = 256 << 10
_BATCH = 32
_WINDOW_S = 8.0
_PUTS_S = 0.1
"""Seconds between batches: 80 MiB/s."""
_CAPACITY_BYTES = 512 << 20
_QUEUE_BYTES = 64 << 20
_SUBJECTS = ("nothing", "lsmkv")


def child(subject: str, path: str, window_s: float) -> dict[str, float]:
    """One run: lateness in milliseconds, and what the store did meanwhile."""
    stop = threading.Event()
    found: list[float] = []
    ticker = threading.Thread(target=lateness, args=(stop, found))
    if subject == "nothing":
        ticker.start()
        stop.wait(window_s)
        stop.set()
        ticker.join()
        return _told(found)
    options = StoreOptions(capacity_bytes=_CAPACITY_BYTES, put_queue_bytes=_QUEUE_BYTES)
    with PageStore.open(path, options=options) as store:
        ns = store.namespace({"bench": "ticks"}, _PAGE_BYTES)
        pages = np.random.default_rng(1).integers(0, 256, (_BATCH, _PAGE_BYTES), np.uint8)
        number = itertools.count()
        while store.stats().gc_segments == 0 and store.stats().evicted_pages == 0:
            ns.put_many(_keys(next(number)), pages, wait=True)
        before = store.stats()
        threads = [
            ticker,
            threading.Thread(target=paced, args=(stop, lambda: ns.put_many(_keys(next(number)), pages), _PUTS_S)),
            threading.Thread(target=paced, args=(stop, _reading(ns, number), _PUTS_S)),
        ]
        during(window_s, stop, threads)
        after = store.stats()
    if after.recycled_segments == before.recycled_segments:
        msg = f"no segment was reclaimed within {window_s:g} s: not the load that is meant"
        raise RuntimeError(msg)
    done = {
        "put pages": after.put_pages - before.put_pages,
        "declined pages": after.queue_declined_pages - before.queue_declined_pages,
        "pages read": after.hits - before.hits,
        "segments reclaimed": after.recycled_segments - before.recycled_segments,
    }
    return _told(found) | done


def _keys(batch: int) -> list[bytes]:
    """The keys of a batch."""
    return [b"%020d%08d" % (batch, i) for i in range(_BATCH)]


def _reading(ns: Namespace, number: itertools.count[int]) -> Callable[[], object]:
    """Probe a batch put a while ago, have it read ahead, and read it."""
    out = np.empty((_BATCH, _PAGE_BYTES), np.uint8)

    def read() -> object:
        """One batch."""
        last = int(repr(number)[6:-1])
        keys = _keys(max(last - 12, 0))
        ns.contains_prefix(keys, prefetch=True)
        return ns.get_into(keys, out)

    return read


def _told(found: list[float]) -> dict[str, float]:
    """Lateness in milliseconds."""
    late = np.array(found) * 1e3
    return {"p99": float(np.quantile(late, 0.99)), "max": float(late.max()), "ticks": len(found)}


def run_page_ticks(session: Session, group: str) -> None:
    """Rows: p99 by the median of the rounds, maximum by the worst of them."""
    names = ["5 ms tick beside a page store at work, p99 late", "5 ms tick beside a page store at work, worst late"]
    if not session.request.wants(*names) or session.late(f"{group}: {names[0]}"):
        return
    scale = session.request.scale
    p99 = Row(names[0], "page tick p99", "ms", "lower", {}, group=group)
    worst = Row(names[1], "page tick max", "ms", "lower", {}, group=group, summary="worst")
    for number in range(3 if scale >= 1 else 1):
        for subject in _SUBJECTS:
            home = session.request.scratch / f"page-ticks-{subject}-{number}"
            done = session.busy(f"ticks beside pages: {subject}")
            try:
                found = ask("page-ticks", subject=subject, path=str(home), window_s=max(1.0, _WINDOW_S * min(1.0, scale)))
            except RuntimeError as error:
                p99.missing[subject] = worst.missing[subject] = f"failed: {error}"
                continue
            finally:
                done()
                shutil.rmtree(Path(home), ignore_errors=True)
            p99.samples.setdefault(subject, []).append(found.pop("p99"))
            worst.samples.setdefault(subject, []).append(found.pop("max"))
            p99.notes[subject] = "last round: " + ", ".join(f"{count:,.0f} {what}" for what, count in found.items())
    for row in (p99, worst):
        session.add(row)
