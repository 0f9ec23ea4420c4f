"""Write the curves and the table of docs/retention.md: ``python docs/retention_curves.py TRACE docs/retention.md``.

TRACE is the Mooncake conversation trace (FAST'25 release), or another of that format.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lsmkv_tensor.cli.curve import draw
from lsmkv_tensor.trace import Row, Trace, parse_trace, replay

HERE = Path(__file__).parent
CAPACITIES = (0.01, 0.02, 0.05, 0.10, 0.20)
CURVES = ("fifo", "lru", "countlru", "mq", "mq,lifetime=10000,queues='whole'", "arc:Arc", "s3_fifo:S3Fifo")
ADMITTED = (("lru", "second"), ("lru", "adaptive"), ("mq", "second"), ("mq", "adaptive"))
UPSTREAM = 0.02
MARKS = re.compile(r"(<!-- table begins -->\n).*(<!-- table ends -->)", re.DOTALL)


def rows_of(trace: Trace, upstream: int) -> list[Row]:
    """Every policy at every capacity."""
    rows = replay(trace, capacity=CAPACITIES, eviction=CURVES, upstream_blocks=upstream)
    for eviction, admission in ADMITTED:
        rows += replay(trace, capacity=CAPACITIES, eviction=eviction, admission=admission, upstream_blocks=upstream)
    return rows


def table(rows: list[Row]) -> list[str]:
    """Hit rates, and what was written at 5 %, as Markdown."""
    lines = [
        "| eviction | admission | " + " | ".join(f"{share:.0%}" for share in CAPACITIES) + " | written at 5 % |",
        "|---|---|" + "---|" * (len(CAPACITIES) + 1),
    ]
    for eviction, admission in dict.fromkeys((row.eviction, row.admission) for row in rows):
        own = [row for row in rows if (row.eviction, row.admission) == (eviction, admission)]
        rates = " | ".join(f"{row.hit_rate:.4f}" for row in own)
        lines.append(f"| `{eviction}` | {admission} | {rates} | {own[2].written:,} |")
    return lines


def main(file: str, page: str) -> None:
    """Replay, draw, write."""
    sys.path.insert(0, str(HERE / "eviction"))
    trace = parse_trace(Path(file).read_text(encoding="utf-8").splitlines())
    above = int(UPSTREAM * trace.unique_blocks)
    text = []
    for name, upstream in (("alone", 0), ("behind-an-engine", above)):
        rows = rows_of(trace, upstream)
        draw([row for row in rows if row.admission == "all"], trace.ideal_hit_rate, HERE / "eviction" / f"{name}.svg")
        title = "The store alone" if not upstream else f"Behind an engine that caches {UPSTREAM:.0%} of the blocks itself"
        text += [f"**{title}**, hit rate by capacity:", "", *table(rows), ""]
    where = Path(page)
    old = where.read_text(encoding="utf-8")
    where.write_text(MARKS.sub(lambda m: m[1] + "\n".join(text) + m[2], old), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
