"""Pages that lie in many places of the caller's memory: host pools keep K and V apart (2 spans a page), or every layer (160)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import chain_digests
from bench.harness import Case, Effort, still_heap
from bench.scratch import aligned_bytes
from bench.session import Session
from bench.targets import OURS

__all__ = ["run_spans"]

_PAGES = 128
_SPAN_BYTES = 4096
_SPANS = (2, 160)


def run_spans(session: Session) -> None:
    """Puts and warm gets of 128 pages at once, by us and by files whose pages are copied through one buffer."""
    quick = session.request.quick
    effort = Effort(3, budget_s=3) if quick else Effort(9, budget_s=20)
    for spans in _SPANS:
        page_bytes = (32 if quick else 160) * _SPAN_BYTES
        put, get = (f"{what} {_PAGES} pages of {spans} spans, {page_bytes >> 10} KiB" for what in ("put", "get, warm,"))
        if not session.request.wants(put, get) or session.late(put):
            continue
        count = min(spans, page_bytes // 2048)
        pool = aligned_bytes(_PAGES * page_bytes)
        pool[:] = np.random.default_rng(session.request.seed).integers(0, 256, len(pool), np.uint8)
        root = session.request.scratch / f"spans-{spans}"
        ways = {OURS: _Store(root / "lsmkv", pool, count), "files": _Files(root / "files", pool, count)}
        try:
            with still_heap():
                for name, key, call in ((put, "spans put", "put"), (get, "spans get", "get")):
                    work = {subject: _rate(getattr(way, call), len(pool)) for subject, way in ways.items()}
                    session.measure(Case(name, key, "MB/s", "higher", work, group="spans"), effort)
        finally:
            for way in ways.values():
                way.close()
            shutil.rmtree(root, ignore_errors=True)


def _rate(work: Callable[[], None], nbytes: int) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        work()
        return nbytes / 1e6 / (time.perf_counter() - began)

    return once


class _Layered:
    """A pool whose layers lie apart: span j of page i is row i of layer j."""

    def __init__(self, pool: np.ndarray, spans: int) -> None:
        self.pages = _PAGES
        self.layers = pool.reshape(spans, _PAGES, -1)
        base, width = pool.ctypes.data, self.layers.shape[2]
        at = np.arange(spans) * (_PAGES * width) + np.arange(_PAGES)[:, None] * width
        self.addresses = (base + at).astype(np.uint64)
        self.sizes = np.full(spans, width, np.int64)
        self.turn = 0


class _Store(_Layered):
    """The page store, from and into the spans."""

    def __init__(self, path: Path, pool: np.ndarray, spans: int) -> None:
        from lsmkv_tensor import PageSpans, PageStore, StoreOptions  # noqa: PLC0415 - optional: it needs the extra "tensor"

        super().__init__(pool, spans)
        self._spans = PageSpans(self.addresses, self.sizes, pool)
        self._store = PageStore.open(str(path), options=StoreOptions(capacity_bytes=4 << 30))
        self._ns = self._store.namespace({"spans": spans}, int(self.sizes.sum()))
        self._keys: list[bytes] = []

    def put(self) -> None:
        """128 new pages, and a sync."""
        self.turn += 1
        self._keys = chain_digests(_PAGES, self.turn)
        if not all(self._ns.put_many(self._keys, self._spans)):
            msg = "the store declined a page"
            raise RuntimeError(msg)
        self._store.sync()

    def get(self) -> None:
        """The pages put last."""
        if not self._keys:
            self.put()
        if not all(self._ns.get_into(self._keys, self._spans)):
            raise KeyError

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class _Files(_Layered):
    """A file a page, its spans gathered into and scattered from one buffer, as HiCacheFile's callers do."""

    def __init__(self, path: Path, pool: np.ndarray, spans: int) -> None:
        super().__init__(pool, spans)
        path.mkdir(parents=True)
        self._path = path
        self._page = np.empty(int(self.sizes.sum()), np.uint8)

    def put(self) -> None:
        """128 new files (not synced)."""
        self.turn += 1
        rows = self._page.reshape(len(self.layers), -1)
        for i in range(_PAGES):
            rows[:] = self.layers[:, i]
            self._page.tofile(self._path / f"{self.turn}-{i}.bin")

    def get(self) -> None:
        """The files put last."""
        if not self.turn:
            self.put()
        rows = self._page.reshape(len(self.layers), -1)
        for i in range(_PAGES):
            with (self._path / f"{self.turn}-{i}.bin").open("rb", buffering=0) as file:
                file.readinto(self._page)
            self.layers[:, i] = rows

    def close(self) -> None:
        """Nothing is held open."""
