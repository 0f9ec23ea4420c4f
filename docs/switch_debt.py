"""The table in docs/switching.md: ``python docs/switch_debt.py docs/switching.md`` makes the switches and writes it again.

One store goes through five policies and back, greedily; then, from the same trees, lazily, with writes going on. Keys, order,
clock and scheduler are fixed, so the numbers change only when the code does.
"""

import re
import sys
from pathlib import Path

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.policy.base import Policy
from lsmkv.policy.transition import TransitionReport
from lsmkv.testing import ManualClock, ManualScheduler, MemoryFileSystem

ROUTE: list[Policy] = [
    lsmkv.Leveled(size_ratio=6),
    lsmkv.Tiered(size_ratio=6),
    lsmkv.LazyLeveling(size_ratio=6),
    lsmkv.Fluid(size_ratio=6, K=2, Z=3),
    lsmkv.Leveled(size_ratio=6),
    lsmkv.Leveled(size_ratio=3),
    lsmkv.Leveled(size_ratio=10),
    lsmkv.Tiered(size_ratio=4),
    lsmkv.Leveled(size_ratio=4),
]
ENTRIES = 80_000
"""Written before the first switch; between switches a third of that. One in four is an overwrite."""

BLOCK = re.compile(r"(<!-- switches -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class Load:
    """Writes in batches, one in four of them to a key written before."""

    def __init__(self, db: lsmkv.DB) -> None:
        self.db = db
        self._rng = seeded(3)
        self._known = 0

    def write(self, entries: int) -> None:
        """So many, then everything that is due."""
        for _ in range(0, entries, 100):
            fresh = [self._known + i for i in range(75)]
            old = [int(self._rng.random() * max(self._known, 1)) for _ in range(25)]
            self._known += 75
            self.db.put_many((b"%016x" % (n * 0x9E3779B97F4A7C15 % 2**64), b"v" * 84) for n in [*fresh, *old])
            self.db.settle()


def store() -> lsmkv.DB:
    """An empty one, in memory."""
    options = lsmkv.Options(
        fs=MemoryFileSystem(),
        clock=ManualClock(),
        rng=seeded(1),
        scheduler=ManualScheduler(),
        policy=ROUTE[0],
        memtable_bytes=128 << 10,
        table_bytes=128 << 10,
        level0_runs=1,
    )
    return lsmkv.open("/switches", options)


def reports(pace: str) -> list[tuple[TransitionReport, int]]:
    """Each switch as it ended, and how many entries were written meanwhile."""
    ended: list[tuple[TransitionReport, int]] = []
    with store() as db:
        load = Load(db)
        load.write(ENTRIES)
        for policy in ROUTE[1:]:
            db.set_policy(policy, pace)
            db.settle()
            written = 0
            while not _report(db).done and written < 4 * ENTRIES:
                load.write(1000)
                written += 1000
            ended.append((_report(db), written))
            load.write(ENTRIES // 3)
    return ended


def _report(db: lsmkv.DB) -> TransitionReport:
    """The transition's."""
    report = db.stats().transition
    assert report is not None
    return report


def name(policy: dict[str, object]) -> str:
    """``tiered T=6``."""
    short = {"size_ratio": "T"}
    rest = " ".join(f"{short.get(key, key)}={value}" for key, value in policy.items() if key != "name" and value is not None)
    return f"{policy['name']} {rest}".replace("_", " ")


def table() -> str:
    """Both tables, in Markdown."""
    lines = ["| from | to | predicted: bytes | blocks | steps | paid: bytes | blocks | steps |", "|---|---|" + "---:|" * 6]
    for report, _ in reports("greedy"):
        p = report.predicted
        cells = [f"{n:,}" for n in (p.bytes, p.blocks, p.steps, report.paid_bytes, report.paid_blocks, report.paid_steps)]
        lines.append(f"| {name(report.from_policy)} | {name(report.to_policy)} | " + " | ".join(cells) + " |")
    lines += ["", "Lazily:", ""]
    lines += ["| from | to | predicted: bytes | paid: bytes | steps | entries written until done |", "|---|---|" + "---:|" * 4]
    for report, written in reports("lazy"):
        numbers = [f"{n:,}" for n in (report.predicted.bytes, report.paid_bytes, report.paid_steps)]
        until = f"{written:,}" if report.done else f"more than {written:,}"
        lines.append(f"| {name(report.from_policy)} | {name(report.to_policy)} | " + " | ".join([*numbers, until]) + " |")
    return "\n".join(lines) + "\n"


def rewritten(page: str) -> str:
    """The page with its tables written again."""
    return BLOCK.sub(lambda found: found.group(1) + "\n" + table() + "\n" + found.group(3), page, count=1)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(rewritten(target.read_text(encoding="utf-8")), encoding="utf-8")
