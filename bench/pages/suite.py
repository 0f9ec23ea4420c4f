"""All rows asked for, page size by page size."""

from __future__ import annotations

import contextlib
import shutil

from bench.data import random_pages
from bench.harness import still_heap
from bench.pages.gets import measure_gets
from bench.pages.probes import measure_probes
from bench.pages.puts import measure_puts
from bench.pages.scale import BATCH, Bench, Kinds, Probe, Scale
from bench.pages.ticks import run_page_ticks
from bench.peers import PAGE_PEERS
from bench.scratch import aligned_bytes
from bench.session import Session

__all__ = ["run_pages"]


def run_pages(session: Session, plan: tuple[tuple[Scale, ...], Probe]) -> None:
    """Measure every row asked for: each page size, then the probes."""
    scales, probe = plan
    kinds = _available(session)
    for scale in scales:
        root = session.request.scratch / f"pages-{scale.page_bytes}"
        pages = random_pages(scale.batches * BATCH, scale.page_bytes, session.request.seed)
        out = aligned_bytes(BATCH * scale.page_bytes).reshape(BATCH, scale.page_bytes)
        bench = Bench(session, scale, root, kinds, pages, out)
        with still_heap():
            measure_puts(bench)
            measure_gets(bench)
        shutil.rmtree(root, ignore_errors=True)
    with still_heap():
        measure_probes(session, kinds, probe)
    run_page_ticks(session, "beside a store at work")


def _available(session: Session) -> Kinds:
    """The kinds that open here, found out by opening each once."""
    kinds = {kind.name: kind for kind in PAGE_PEERS}
    with contextlib.ExitStack() as stack:
        root = session.request.scratch / "try"
        root.mkdir()
        opened = session.open_each(PAGE_PEERS, lambda kind: kind(root / kind.name, 4096))
        for peer in opened.values():
            stack.callback(peer.close)
    shutil.rmtree(root, ignore_errors=True)
    return {name: kinds[name] for name in opened}
