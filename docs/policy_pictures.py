"""Write the pictures and the table of docs/policies: ``python docs/policy_pictures.py docs/policies``.

Each picture is three steps of a simulation around the last big merge; the table holds all policies against one load.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lsmkv import FIFO, Fluid, LazyLeveling, Leveled, Tiered, Writes, simulate
from lsmkv.lab import Row, Simulation
from lsmkv.lab.film import film
from lsmkv.observe.picture import policy_line
from lsmkv.policy.base import Policy
from lsmkv.policy.registry import describe_policy

PICTURES: dict[str, tuple[Policy, Writes]] = {
    "leveled": (Leveled(size_ratio=4), Writes(entries=960_000, memtable=10_000)),
    "leveled-partial": (Leveled(size_ratio=4, partial="least_overlap"), Writes(entries=960_000, memtable=10_000)),
    "tiered": (Tiered(size_ratio=4), Writes(entries=960_000, memtable=10_000)),
    "lazy-leveling": (LazyLeveling(size_ratio=4), Writes(entries=960_000, memtable=10_000)),
    "fluid": (Fluid(size_ratio=7, K=3, Z=2), Writes(entries=784_000, memtable=2_000)),
    "fifo": (FIFO(capacity_bytes=16_000_000), Writes(entries=300_000, memtable=10_000)),
}
TABLE: list[Policy] = [
    Leveled(size_ratio=10),
    Leveled(size_ratio=4),
    Leveled(size_ratio=4, partial="least_overlap"),
    Fluid(size_ratio=7, K=3, Z=2),
    LazyLeveling(size_ratio=4),
    LazyLeveling(size_ratio=10),
    Tiered(size_ratio=4),
    Tiered(size_ratio=10),
]
LOAD = Writes(entries=200_000, memtable=500, overwrites=0.4, deletes=0.05)
TABLE_MARKS = re.compile(r"(<!-- table begins -->\n).*(<!-- table ends -->)", re.DOTALL)


def picture(name: str) -> str:
    """The SVG of one page."""
    policy, load = PICTURES[name]
    rows = simulate(policy, load).rows
    return film(rows, _three(rows))


def _three(rows: list[Row]) -> list[int]:
    """The last task of the kind that moves most, and the two steps that lead to it."""
    tasks = [row for row in rows if row.kind == "compaction"]
    deepest = max(row.output_level for row in tasks)
    big = [row for row in tasks if row.output_level == deepest and row.task != "move"] or [r for r in tasks if r.task == "drop"]
    last = big[-1].step
    return [last - 2, last - 1, last]


def table() -> str:
    """All policies against one load, as Markdown."""
    lines = [
        "| policy | copies | write amplification | runs, mean | absent key, mean blocks | space, mean | space, worst |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_line(simulate(policy, LOAD), policy) for policy in TABLE]
    return "\n".join(lines) + "\n"


def _line(done: Simulation, policy: Policy) -> str:
    """One policy."""
    rows = done.rows[len(done.rows) // 4 :]  # the tree has taken its form
    blocks = [row.zero_lookup_blocks or 0.0 for row in rows]
    space = [row.space_amplification or 0.0 for row in rows]
    cells = [
        policy_line(describe_policy(policy)),
        f"{done.last.update_copies:.2f}",
        f"{done.last.write_amplification:.2f}",
        f"{sum(row.runs for row in rows) / len(rows):.1f}",
        f"{sum(blocks) / len(rows):.3f}",
        f"{sum(space) / len(rows):.2f}",
        f"{max(space):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(directory: Path) -> None:
    """Write everything."""
    for name in PICTURES:
        (directory / f"{name}.svg").write_text(picture(name), encoding="utf-8")
    page = directory / "README.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(TABLE_MARKS.sub(lambda m: m[1] + "\n" + table() + "\n" + m[2], text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
