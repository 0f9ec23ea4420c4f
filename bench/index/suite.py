"""The core of the suite: all its rows asked for, scale by scale."""

from __future__ import annotations

import shutil

from bench.data import make_entries
from bench.harness import still_heap
from bench.index.reads import measure_reads, measure_runs
from bench.index.scale import Bench, Scale
from bench.index.writes import measure_writes
from bench.session import Session

__all__ = ["run_core"]


def run_core(session: Session, scales: tuple[Scale, ...]) -> None:
    """Measure every row asked for at every scale."""
    for scale in scales:
        done = session.busy("making entries")
        entries = make_entries(scale.entries, scale.value_bytes, session.request.seed)
        done()
        root = session.request.scratch / f"index-{scale.value_bytes}"
        bench = Bench(session, scale, entries, root)
        with still_heap():
            measure_writes(bench)
            measure_reads(bench)
            measure_runs(bench)
        shutil.rmtree(root, ignore_errors=True)
