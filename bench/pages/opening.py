"""Restart to first hit, with many pages and with many sparse segments: after a close, and after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.child import ask
from bench.data import chain_digests
from bench.harness import Case, Effort
from bench.session import Session
from bench.targets import OURS

__all__ = ["child", "run_opening"]

_PAGE_BYTES = 512
"""Small: it is the number of pages that counts; each takes a block of 4 KiB."""
_BATCH = 256
_EFFORT = Effort(5, least_rounds=3, budget_s=20)


def run_opening(session: Session) -> None:
    """Rows about opening a store of a million pages, and one of a thousand segments of which most is dead."""
    quick = session.request.quick
    shapes = (
        ("1M pages" if not quick else "4k pages", {"pages": 4_096 if quick else 1 << 20, "segments": 32, "keep": 1.0}),
        ("1,000 sparse segments" if not quick else "20 sparse segments", {
            "pages": 2_048 if quick else 102_400, "segments": 20 if quick else 1_000, "keep": 0.1,
        }),
    )  # fmt: skip
    for what, shape in shapes:
        for killed in (False, True):
            name = f"restart to first hit, {what}{', killed' if killed else ''}"
            if not session.request.wants(name) or session.late(name):
                continue
            root = session.request.scratch / "opening"
            done = session.busy(f"filling for {name}")
            ask("pages-opening", path=str(root), killed=killed, seed=session.request.seed, **shape)
            done()
            work = {OURS: _opening(root, session.request.seed, shape)}
            key = "restart killed" if killed else "restart"
            session.measure(Case(name, key, "ms", "lower", work, group="open"), _EFFORT)
            shutil.rmtree(root, ignore_errors=True)


def _open(path: Path, pages: int, segments: int) -> tuple[Any, Any]:
    from lsmkv_tensor import PageStore, StoreOptions  # noqa: PLC0415 - optional: it needs the extra "tensor"

    size = max(-(-pages // segments) * 4096 * 9 // 8, 64 << 10)
    index = max(pages * 1024, 4 << 20)
    options = StoreOptions(capacity_bytes=index + (segments * 2 + 16) * size, segment_bytes=size, index_bytes=index)
    store = PageStore.open(str(path), options=options)
    return store, store.namespace({"model": "bench"}, _PAGE_BYTES)


def child(path: str, killed: bool, seed: int, pages: int, segments: int, keep: float) -> None:
    """Fill the store, delete all but a part; then close it, or die as a killed process does."""
    store, ns = _open(Path(path), pages, segments)
    keys = chain_digests(pages, seed)
    memory = np.zeros((_BATCH, _PAGE_BYTES), np.uint8)
    for start in range(0, pages, _BATCH):
        part = keys[start : start + _BATCH]
        ns.put_many(part, memory[: len(part)])
    if keep < 1:
        every = round(1 / keep)
        ns.delete_many([key for i, key in enumerate(keys) if i % every])
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    store.close()


def _opening(path: Path, seed: int, shape: dict[str, Any]) -> Callable[[], float]:
    """A round: milliseconds from nothing to the first page read. Only the first after a kill replays a log."""
    pages, segments = shape["pages"], shape["segments"]
    key = chain_digests(pages, seed)[0]
    out = np.zeros((1, _PAGE_BYTES), np.uint8)

    def once() -> float:
        copy = path.with_name("opening-copy")
        shutil.copytree(path / "index", copy)  # opening changes the index alone
        began = time.perf_counter()
        store, ns = _open(path, pages, segments)
        found = ns.get_into([key], out)
        taken = time.perf_counter() - began
        store.close()
        shutil.rmtree(path / "index")
        copy.rename(path / "index")
        if found != [True]:
            msg = "the first page is lost"
            raise RuntimeError(msg)
        return taken * 1e3

    return once
