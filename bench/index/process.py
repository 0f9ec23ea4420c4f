"""Rows about the store as a guest in its process: how soon it answers after an opening, what memory it takes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import Effort
from bench.index.scale import Bench
from bench.memory import measure_memory, write_keys
from bench.peers import IndexPeer, Settings, index_peer

__all__ = ["measure_memories", "measure_reopen", "reopened"]

_MEMORY_KEYS = 350_000
"""As many gets, twice, as bring the caches of a million entries into their last state."""


def reopened(kind: type[IndexPeer], home: Path, settings: Settings, wanted: bytes) -> Callable[[], float]:
    """A round: milliseconds from opening until the first answer."""

    def once() -> float:
        began = time.perf_counter()
        peer = kind(home, settings)
        peer.get(wanted)
        taken = time.perf_counter() - began
        peer.close()
        return taken * 1e3

    return once


def measure_reopen(bench: Bench, names: list[str]) -> None:
    """Opening after a clean close, until the first answer."""
    wanted = bench.entries.keys[len(bench.entries.keys) // 2]

    def reopen(name: str) -> Callable[[], float]:
        return reopened(index_peer(name), bench.home("one", name), Settings(), wanted)

    bench.session.measure(bench.case("reopen and first get", "reopen", "ms", names, reopen), bench.scale.reads)


def measure_memories(bench: Bench, names: list[str]) -> None:
    """Resident memory of each store in a process of its own, its caches full."""
    keys = random.Random(bench.session.request.seed).choices(bench.entries.keys, k=_MEMORY_KEYS)
    keys_file = bench.root / "keys.bin"
    drawn = write_keys(keys_file, [], keys)

    def weigh(name: str) -> Callable[[], float]:
        return lambda: measure_memory(name, bench.home("one", name), keys_file, drawn).resident_mib

    effort = Effort(3, least_rounds=1, budget_s=bench.scale.reads.budget_s, warmups=0)
    bench.session.measure(bench.case("memory beyond the interpreter", "memory", "MiB", names, weigh), effort)
