"""A store of a million pages, and one of a thousand sparse segments: restart to first hit, and memory a page.

Every figure is taken in a process of its own, as after a server's restart: after a clean close, and after a kill.
"""

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

__all__ = ["child", "restart", "run_opening", "weigh"]

_PAGE_BYTES = 512
"""Small: it is the number of pages that counts; each takes a block of 4 KiB."""
_BATCH = 256
_EFFORT = Effort(5, least_rounds=3, budget_s=40, warmups=0)
_MEMORY_EFFORT = Effort(3, least_rounds=1, budget_s=60, warmups=0)
_QUICK_EFFORT = Effort(2, least_rounds=1, budget_s=1, warmups=0)
_READ_PAGES = 50_000
"""Pages read before the memory is weighed, beside asking for all."""


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
            memory = f"memory a page, {what}" if shape["keep"] == 1 and not killed else name
            if not session.request.wants(name, memory) or session.late(name):
                continue
            root = session.request.scratch / "opening"
            done = session.busy(f"filling for {name}")
            ask("pages-opening", path=str(root), killed=killed, seed=session.request.seed, **shape)
            done()
            work = {OURS: _restarting(root, session.request.seed, shape)}
            key = "restart killed" if killed else "restart"
            session.measure(Case(name, key, "ms", "lower", work, group="open"), _QUICK_EFFORT if quick else _EFFORT)
            if memory != name:
                held = {OURS: _weighing(root, session.request.seed, shape)}
                session.measure(
                    Case(memory, "memory a page", "B", "lower", held, group="open"), _QUICK_EFFORT if quick else _MEMORY_EFFORT
                )
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


def restart(path: str, key: str, pages: int, segments: int) -> dict[str, float]:
    """What a restarted server does: open the store, read one page (hexadecimal key). Milliseconds, and whether it was there."""
    import lsmkv_tensor  # noqa: F401, PLC0415 - the import is the server's, not the store's

    out = np.zeros((1, _PAGE_BYTES), np.uint8)
    began = time.perf_counter()
    store, ns = _open(Path(path), pages, segments)
    found = ns.get_into([bytes.fromhex(key)], out)
    taken = time.perf_counter() - began
    store.close()
    return {"ms": taken * 1e3, "found": all(found)}


def _restarting(path: Path, seed: int, shape: dict[str, Any]) -> Callable[[], float]:
    """A round: milliseconds from opening to the first page read, from the same state every time."""
    order = {"path": str(path), "pages": shape["pages"], "segments": shape["segments"]}
    key = chain_digests(shape["pages"], seed)[0].hex()

    def once() -> float:
        copy = path.with_name("opening-copy")
        shutil.copytree(path / "index", copy)  # opening changes the index alone
        told = ask("pages-restart", key=key, **order)
        shutil.rmtree(path / "index")
        copy.rename(path / "index")
        if not told["found"]:
            msg = "the first page is lost"
            raise RuntimeError(msg)
        return float(told["ms"])

    return once


def weigh(path: str, seed: int, pages: int, segments: int) -> dict[str, float]:
    """Bytes of anonymous memory a page, beyond those of an empty store in the same process.

    The store knows and ranks all its pages, was asked for all of them, and has read some.
    """
    keys = chain_digests(pages, seed)
    empty, _ = _open(Path(path).with_name("opening-empty"), pages, segments)
    empty.gc()
    before = _anonymous_bytes()
    store, ns = _open(Path(path), pages, segments)
    store.gc()  # whoever reclaims must know all pages
    there = sum(ns.contains_prefix(keys[start : start + _BATCH]) for start in range(0, pages, _BATCH))
    out = np.zeros((_BATCH, _PAGE_BYTES), np.uint8)
    for start in range(0, min(pages, _READ_PAGES), _BATCH):
        ns.get_into(keys[start : start + _BATCH], out[: len(keys[start : start + _BATCH])])
    grown = _anonymous_bytes() - before
    store.close()
    empty.close()
    return {"bytes": grown / pages, "found": there == pages}


def _anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    msg = "/proc/self/status has no RssAnon line: memory can only be measured on Linux"
    raise RuntimeError(msg)


def _weighing(path: Path, seed: int, shape: dict[str, Any]) -> Callable[[], float]:
    def once() -> float:
        told = ask("pages-memory", path=str(path), seed=seed, pages=shape["pages"], segments=shape["segments"])
        shutil.rmtree(path.with_name("opening-empty"), ignore_errors=True)
        if not told["found"]:
            msg = "pages are missing"
            raise RuntimeError(msg)
        return float(told["bytes"])

    return once
