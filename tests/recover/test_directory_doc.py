"""The page about the directory names every file a store has, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

PAGE = (Path(__file__).parents[2] / "docs/format/directory.md").read_text()


def described(name):
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.split("## What opening does")[0], re.MULTILINE)
    return any(re.fullmatch(re.sub(r"\d{6}", r"\\d{6,}", re.escape(row)), name) for row in rows)


def test_every_file_that_ever_exists_is_described():
    fs = MemoryFileSystem()
    seen: set[str] = set()
    fs.on_op = lambda op, path: seen.add(path) if op == "open" else None
    for _ in range(2):
        with lsmkv.open("/db", lsmkv.Options(fs=fs, scheduler=ManualScheduler(), memtable_bytes=2048, level0_runs=1)) as db:
            for n in range(300):
                db.put(b"%d" % (n % 50), b"x" * 20)
            db.settle()
    names = {path.rpartition("/")[2] for path in seen} | set(fs.listdir("/db"))
    assert {name.rpartition(".")[2] for name in names} == {"MANIFEST", "LOCK", "wal", "sst", "tmp", "jsonl"}
    assert [name for name in names if not described(name)] == []
    assert not described("notes.txt")


def test_the_pages_it_links_to_exist():
    for page in re.findall(r"\]\(([a-z]+\.md)\)", PAGE):
        if page in {"wal.md", "manifest.md"}:
            assert (Path(__file__).parents[2] / "docs/format" / page).exists()
