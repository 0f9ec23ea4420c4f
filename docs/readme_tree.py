"""The picture of a tree in README.md: ``python docs/readme_tree.py README.md`` builds a store and draws it again.

Everything is fixed (contents, order, options, no background threads), so the picture changes only when the code does.
"""

import re
import sys
import tempfile
from pathlib import Path

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.observe.picture import text_picture

ENTRIES = 60_000
STEP = 1_234_577  # coprime with ENTRIES: a full walk in an order without neighbours
BATCH = 250
BLOCK = re.compile(r"(```text\n)(.*?)(\n```)", re.DOTALL)


def picture() -> str:
    """The text of the picture."""
    options = lsmkv.Options(
        policy=lsmkv.Leveled(size_ratio=4),
        memtable_bytes=64 << 10,
        table_bytes=256 << 10,
        scheduler=ManualScheduler(),
    )
    with tempfile.TemporaryDirectory() as folder, lsmkv.open(f"{folder}/store", options) as db:
        for start in range(0, ENTRIES, BATCH):
            numbers = [i * STEP % ENTRIES for i in range(start, start + BATCH)]
            db.put_many((b"page:%08d" % n, bytes(n % 97)) for n in numbers)
            db.settle()
        db.flush()
        text = text_picture(db.tree(), db.stats().policy)
    return "\n".join(line.rstrip() for line in text.splitlines())


def redraw(page: str) -> str:
    """The page with its picture drawn again."""
    return BLOCK.sub(lambda found: found.group(1) + picture() + found.group(3), page, count=1)


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(redraw(readme.read_text(encoding="utf-8")), encoding="utf-8")
