"""The table and the scrape of docs/metrics.md: ``python docs/metrics_page.py docs/metrics.md`` writes them again.

Everything is fixed (contents, order, options, clock, no background threads), so the page changes only when the code does.
"""

import re
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.metrics import UP, Collector
from lsmkv.observe.metrics import CATALOGUE, NO_METRIC
from lsmkv.testing import ManualClock, MemoryFileSystem
from lsmkv_tensor import catalogue
from lsmkv_tensor import metrics as tensor

MARKS = re.compile(r"(<!-- (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)
ENTRIES = 4_000


def table() -> str:
    """Every metric: name, type, labels beside ``store``, meaning, the fields of the statistics it tells."""
    lines = ["| name | type | labels | meaning | from `stats()` |", "|---|---|---|---|---|"]
    for metric in (UP, *CATALOGUE):
        labels, fields = (", ".join(f"`{name}`" for name in names) for names in (metric.labels, metric.fields))
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} | {fields} |")
    return "\n".join(lines)


def tensor_table() -> str:
    """The same for page stores."""
    lines = ["| name | type | labels | meaning | from `stats()` |", "|---|---|---|---|---|"]
    for metric in (tensor.UP, *catalogue.CATALOGUE):
        labels, fields = (", ".join(f"`{name}`" for name in names) for names in (metric.labels, metric.fields))
        lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} | {fields} |")
    return "\n".join(lines)


def tensor_absent() -> str:
    """What is no metric of page stores, and why."""
    return "\n".join(f"- `{field}`: {why}." for field, why in catalogue.NO_METRIC.items())


def absent() -> str:
    """What is no metric, and why."""
    return "\n".join(f"- `{field}`: {why}." for field, why in NO_METRIC.items())


def scrape() -> str:
    """What a small store says, without the help lines."""
    options = lsmkv.Options(
        policy=lsmkv.Tiered(size_ratio=4),
        memtable_bytes=32 << 10,
        table_bytes=64 << 10,
        fs=MemoryFileSystem(),
        clock=ManualClock(),
        rng=seeded(1),
        scheduler=ManualScheduler(),
    )
    with lsmkv.open("/var/lib/pages", options) as db:
        for i in range(ENTRIES):
            db.put(b"%06d" % (2 * (i * 7919 % ENTRIES)), bytes(i % 97))
            db.settle()
        for i in range(0, 2 * ENTRIES, 5):
            db.get(b"%06d" % i)
        db.set_policy(lsmkv.Leveled(size_ratio=4))
        registry = CollectorRegistry()
        registry.register(Collector({"pages": db}))
        lines = generate_latest(registry).decode().splitlines()
    return "```text\n" + "\n".join(line for line in lines if not line.startswith("#")) + "\n```"


PARTS = {"tensor_table": tensor_table, "tensor_absent": tensor_absent, "table": table, "absent": absent, "scrape": scrape}


def redraw(page: str) -> str:
    """The page with its parts made again."""
    return MARKS.sub(lambda found: found.group(1) + PARTS[found.group(2)]() + found.group(3), page)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(redraw(target.read_text(encoding="utf-8")), encoding="utf-8")
