"""A scheduler's thread that ticks every 5 ms beside SGLang's real controller: backups, prefetches and reclaiming all the while.

Four subjects: no load; the load on a backend that holds nothing (what the controller's own threads cost); on SGLang's files, with
their evictor and their cache of names; on this backend. Each run is a process of its own, subjects take turns within a round.
A run that saw no page reclaimed, or no page prefetched, is an error, not a figure.
"""

from __future__ import annotations

import multiprocessing
import shutil
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.index.ticks import during, lateness, paced

__all__ = ["SUBJECTS", "run"]

SUBJECTS = ("no load", "nothing stored", "files", "lsmkv")
BATCH = 32
PACE_S = 0.1
"""Seconds between two backups of a batch, and two prefetches: 80 MiB/s each way."""
CAPACITY_BYTES = 256 << 20
SHAPE = {"layers": 16, "heads": 4, "width": 64, "page_size": 16}
"""Pages of 256 KiB."""
POOL_PAGES = 512
BEHIND = 12
"""A prefetch asks for the batch that was backed up so many batches before."""
WAIT_S = 60


class Load:
    """What the scheduler has SGLang's controller do."""

    def __init__(self, made: Any, pool: Any) -> None:  # SGLang's
        from sglang.srt.mem_cache.utils import get_storage_hash_str  # noqa: PLC0415  # only in its own environment

        from tests.real.hicache.world import slots  # noqa: PLC0415  # as above

        self._hashes = get_storage_hash_str
        self._slots = slots
        self._made = made
        self._page = pool.page_size
        self.number = 0
        self.prefetched = self.backed_up = 0

    def back_up(self) -> None:
        """Have a new batch written, and wait for it."""
        tokens = self._tokens(self.number)
        first = self.number * BATCH % (POOL_PAGES // 2)
        indices = self._slots(range(first, first + BATCH), self._page)
        self._made.write_storage(indices, tokens, hash_value=self._hashes(tokens, None, page_size=self._page))
        self.backed_up += self._made.ack_backup_queue.get(timeout=WAIT_S).completed_tokens // self._page
        self.number += 1

    def prefetch(self) -> None:
        """Have a batch of a while ago asked for and read, and wait for it."""
        made = self._made
        made.prefetch("request", self._tokens(max(self.number - BEHIND, 0)))
        operation = made.prefetch_hit_queue.get(timeout=WAIT_S)
        first = POOL_PAGES // 2
        operation.host_indices = self._slots(range(first, first + max(len(operation.hash_value), 1)), self._page)
        made.prefetch_buffer.put(operation)
        done = 0
        while not (ack := made.ack_prefetch_queue.get(timeout=WAIT_S)).completed_req:
            done = ack.completed_tokens
        self.prefetched += done // self._page

    def _tokens(self, number: int) -> list[int]:
        """The tokens of a batch."""
        return [number] * (BATCH * self._page)


def child(subject: str, path: str, window_s: float, pipe: Any) -> None:  # a connection
    """One run, in a process of its own: sends lateness in milliseconds, and what was done meanwhile."""
    stop, found = threading.Event(), []
    ticker = threading.Thread(target=lateness, args=(stop, found))
    if subject == "no load":
        during(window_s, stop, [ticker])
        pipe.send(_told(found))
        return
    from tests.real.hicache.world import controller, host_pool  # noqa: PLC0415  # only in SGLang's own environment

    pool = host_pool("page_first", POOL_PAGES, seed=1, **SHAPE)
    with _made(controller, pool, Path(path), subject) as made:
        load, filled = Load(made, pool), CAPACITY_BYTES // (BATCH << 18)
        while load.number < 2 * filled:  # reclaiming is under way before the first tick
            load.back_up()
        load.prefetched = load.backed_up = 0
        threads = [ticker, *(threading.Thread(target=paced, args=(stop, work, PACE_S)) for work in (load.back_up, load.prefetch))]
        during(window_s, stop, threads)
        told = _told(found) | {"backed_up_pages": load.backed_up, "prefetched_pages": load.prefetched}
        if subject == "lsmkv":
            told["recycled_segments"] = made.storage_backend.holding.store.stats().recycled_segments
            told["errors"] = dict(made.storage_backend.meter.errors)
    if subject != "nothing stored" and not load.prefetched:
        told["failed"] = "no page was prefetched"
    if told.get("recycled_segments") == 0:
        told["failed"] = "nothing was reclaimed"
    pipe.send(told)


def _made(controller: Callable[..., Any], pool: Any, path: Path, subject: str) -> Any:  # SGLang's
    """The controller on a subject's storage."""
    if subject == "files":
        return controller(pool, path, "file", files={"max_size": CAPACITY_BYTES, "enable_metadata_cache": True})
    made = controller(pool, path, "slots", capacity_bytes=CAPACITY_BYTES)
    if subject != "nothing stored":
        return made
    return _Without(made)


class _Without:
    """A controller whose backend says yes and holds nothing."""

    def __init__(self, made: Any) -> None:  # SGLang's
        self._made = made

    def __enter__(self) -> Any:  # SGLang's
        made = self._made.__enter__()
        backend = made.storage_backend
        backend.batch_set_v1 = lambda keys, *_: [True] * len(keys)
        backend.batch_get_v1 = lambda keys, *_: [True] * len(keys)
        backend.batch_exists = lambda keys, *_: len(keys)
        return made

    def __exit__(self, *error: object) -> None:
        self._made.__exit__(*error)


def _told(found: list[float]) -> dict[str, Any]:
    """Lateness in milliseconds."""
    late = np.array(found) * 1e3
    return {"p99_ms": round(float(np.quantile(late, 0.99)), 3), "max_ms": round(float(late.max()), 3), "ticks": len(found)}


def run(scratch: Path, rounds: int, window_s: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Every subject in every round: the samples, and for each subject the median of p99 and the worst tick."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.real.hicache.server"])
    samples: list[dict[str, Any]] = []
    for number in range(rounds):
        for subject in SUBJECTS if number % 2 == 0 else SUBJECTS[::-1]:
            home = scratch / f"{subject.replace(' ', '-')}-{number}"
            ours, theirs = context.Pipe()
            process = context.Process(target=child, args=(subject, str(home), window_s, theirs), daemon=True)
            process.start()
            theirs.close()
            try:
                told = ours.recv()
            except EOFError:
                told = {"failed": "the process ended"}
            process.join()
            shutil.rmtree(home, ignore_errors=True)
            samples.append({"round": number, "subject": subject, **told})
            tell(f"round {number + 1}, {subject}: {told}")
    summary = {}
    for subject in SUBJECTS:
        mine = [s for s in samples if s["subject"] == subject and "failed" not in s]
        if mine:
            p99, worst = statistics.median(s["p99_ms"] for s in mine), max(s["max_ms"] for s in mine)
            summary[subject] = {"p99_ms": p99, "max_ms": worst, "rounds": len(mine)}
    return {"summary": summary, "samples": samples}
