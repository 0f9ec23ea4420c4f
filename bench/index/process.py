"""Rows about the store as a guest in its process: how soon it answers after an opening, what memory it takes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from bench.harness import Effort
from bench.index.scale import Bench
from bench.memory import measure_memory
from bench.peers import INDEX_PEERS, Settings

__all__ = ["measure_memories", "measure_reopen"]

_MEMORY_KEYS = 50_000


def measure_reopen(bench: Bench, names: list[str]) -> None:
    """Opening after a clean close, until the first answer."""
    kinds = {kind.name: kind for kind in INDEX_PEERS}
    wanted = bench.entries.keys[len(bench.entries.keys) // 2]

    def reopen(name: str) -> Callable[[], float]:
        def once() -> float:
            began = time.perf_counter()
            peer = kinds[name](bench.home("one", name), Settings())
            peer.get(wanted)
            taken = time.perf_counter() - began
            peer.close()
            return taken * 1e3

        return once

    bench.session.measure(bench.case("reopen and first get", "reopen", "ms", names, reopen), bench.scale.reads)


def measure_memories(bench: Bench, names: list[str]) -> None:
    """Resident memory of each store in a process of its own, its caches full."""
    keys = random.Random(bench.session.request.seed).choices(bench.entries.keys, k=_MEMORY_KEYS)
    keys_file = bench.root / "keys.bin"
    keys_file.write_bytes(b"".join(keys))

    def weigh(name: str) -> Callable[[], float]:
        return lambda: measure_memory(name, bench.home("one", name), keys_file)

    effort = Effort(3, least_rounds=1, budget_s=bench.scale.reads.budget_s, warmups=0)
    bench.session.measure(bench.case("memory beyond the interpreter", "memory", "MiB", names, weigh), effort)
