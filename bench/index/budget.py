"""Gets and memory stated together: one process a subject, which reads and is weighed at the same budget of cache.

With a small budget a store may be quick because the kernel keeps its files, which no budget bounds: mapped pages and the page
cache are not its own memory. So own memory and mapped files are rows of their own.
"""

from __future__ import annotations

from pathlib import Path

from bench.data import Entries
from bench.harness import Row
from bench.index.draws import Drawer
from bench.index.fill import Filled
from bench.index.lines import filled_stores
from bench.index.shape import Shape
from bench.memory import Footprint, measure_memory, write_keys
from bench.peers import INDEX_PEERS
from bench.session import Session

__all__ = ["run_budget"]

_DRAWS = 200_000

_ROUNDS = 3

_ROWS = {
    "get": ("us/key", "get_us"),
    "memory, anonymous": ("MiB", "anonymous_mib"),
    "memory, mapped files": ("MiB", "file_mib"),
}
"""Unit, and field of the footprint."""


def run_budget(session: Session, budgets: tuple[int, ...]) -> None:
    """Three rows for each budget of cache, over the same stores."""
    shape = Shape().scaled(session.request.scale)
    group = "memory"

    def name_of(what: str, budget: int) -> str:
        return f"{what}, {budget >> 20} MiB cache, {shape}"

    if not session.request.wants(*(name_of(what, budget) for what in _ROWS for budget in budgets)):
        return

    def use(filled: Filled, entries: Entries, root: Path) -> None:
        filled.close()
        keys_file = root / "keys.bin"
        draws = max(200, int(_DRAWS * min(1.0, session.request.scale)))
        drawn = write_keys(keys_file, entries.keys, Drawer(entries, session.request.seed).keys("uniform", draws))
        subjects = list(filled.peers)
        for budget in budgets:
            found: dict[str, list[Footprint]] = {}
            missing = session.missing | filled.missing
            for _ in range(_ROUNDS if session.request.scale >= 1 else 1):
                session.rng.shuffle(subjects)
                for name in subjects:
                    done = session.busy(f"{budget >> 20} MiB cache: {name}")
                    try:
                        weighed = measure_memory(
                            name, root / name, keys_file, drawn, cache_bytes=budget, value_bytes=shape.value_bytes
                        )
                        found.setdefault(name, []).append(weighed)
                    except RuntimeError as error:
                        missing[name] = f"failed: {error}"
                    finally:
                        done()
            for what, (unit, field) in _ROWS.items():
                samples = {name: [getattr(weighed, field) for weighed in found[name]] for name in found}
                session.add(Row(name_of(what, budget), f"memory: {what}", unit, "lower", samples, missing, group))

    filled_stores(session, group, shape, INDEX_PEERS, use)
