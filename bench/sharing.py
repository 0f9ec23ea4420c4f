"""Hits of members that share, beside directories of files: ``python -m bench.sharing TRACE [PAGE.md]`` (minutes).

A trace of Mooncake's format is spread over two members of one root, real stores on a disk with small pages, each with half of
the bytes. Beside them, simulated, one directory that two servers share, with as many bytes: either with one perfect list of
what was used last, which no engine has; or with the evictor of SGLang's file backend in each server, which hears only of what
its own server reads and writes. With PAGE.md the table there is written anew.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lsmkv.testing.clock import ManualClock
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.trace import Request, parse_trace

__all__ = ["Directory", "EachItsOwn", "FirstInFirstOut", "LeastRecentlyUsed", "fitting"]

MEMBERS = 2
CAPACITIES = (0.05, 0.1, 0.2)
PAGE = 32 << 10
"""Bytes of a page here: a scaled one."""
SEGMENTS = 128
"""Segments of a member: what a store of 32 GiB has; larger ones have more."""
MARKS = re.compile(r"(<!-- hits begin -->\n).*(<!-- hits end -->)", re.DOTALL)


class Directory:
    """A directory of files that holds so many of them, and what goes first."""

    def __init__(self, files: int) -> None:
        self.most = files
        self.files: OrderedDict[int, None] = OrderedDict()
        self.peak = 0
        """Files at once, at most, so far."""

    def serve(self, who: int, prompt: Sequence[int]) -> int:
        """A server has this prompt: it reads what is there from the front, and stores the rest; how many it read."""
        hits = next((at for at, i in enumerate(prompt) if i not in self.files), len(prompt))
        self.used(who, prompt[:hits])
        self.stored(who, prompt[hits:])
        self.peak = max(self.peak, len(self.files))
        return hits

    def used(self, who: int, files: Sequence[int]) -> None:
        """A server read these."""

    def stored(self, who: int, files: Sequence[int]) -> None:  # noqa: ARG002 - for EachItsOwn
        """A server offers these."""
        self.files.update(dict.fromkeys(files))
        while len(self.files) > self.most:
            self.files.popitem(last=False)


class FirstInFirstOut(Directory):
    """The oldest file goes first."""


class LeastRecentlyUsed(Directory):
    """The file goes first that nobody used for longest: a perfect list that all servers share."""

    def used(self, who: int, files: Sequence[int]) -> None:  # noqa: ARG002 - for EachItsOwn
        """A prompt's front counts as used after its end."""
        for i in reversed(files):
            self.files.move_to_end(i)

    def stored(self, who: int, files: Sequence[int]) -> None:
        """What is there already was used."""
        self.used(who, [i for i in files if i in self.files])
        super().stored(who, files)


class EachItsOwn(Directory):
    """SGLang's ``HiCacheFile`` in each server, with its evictor (0.5.23).

    Each knows of the files that it wrote or read since it began, in the order of use; when these are more than its
    ``max_size``, it removes the first ones until a tenth is free, whoever reads them.
    """

    WATERMARK = 0.9

    def __init__(self, files: int, each: int | None = None) -> None:
        """``each``: the ``max_size`` of a server; None: an equal part, with which there are never too many files."""
        super().__init__(files)
        self.each = each if each is not None else files // MEMBERS
        self.known: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(MEMBERS)]

    def used(self, who: int, files: Sequence[int]) -> None:
        """Known from now on, and used last."""
        known = self.known[who]
        for i in files:
            known[i] = None
            known.move_to_end(i)

    def stored(self, who: int, files: Sequence[int]) -> None:
        """A file that is there is not written again."""
        known = self.known[who]
        for i in files:
            if i not in self.files:
                if len(known) + 1 > self.each:
                    while known and len(known) + 1 > self.each * self.WATERMARK:
                        self.files.pop(known.popitem(last=False)[0], None)
                self.files[i] = None
            self.used(who, [i])


def fitting(files: int, requests: Sequence[tuple[int, list[int]]]) -> int:
    """The largest ``max_size`` (files) for each server with which the directory never holds more than ``files``."""
    low, high = files // MEMBERS, files
    while high - low > max(files // 200, 1):
        middle = (low + high) // 2
        directory = EachItsOwn(files, middle)
        for who, prompt in requests:
            directory.serve(who, prompt)
        low, high = (middle, high) if directory.peak <= files else (low, middle)
    return low


class Members:
    """Stores of one root, each with its part of the bytes."""

    def __init__(self, root: str, capacity_bytes: int) -> None:
        self.clock = ManualClock()
        each = capacity_bytes // MEMBERS
        options = StoreOptions(capacity_bytes=each, segment_bytes=max(each // SEGMENTS, 8 * PAGE), clock=self.clock)
        self.stores = [PageStore.open(root, options=options, member=f"member-{i}") for i in range(MEMBERS)]
        self.clock.advance(2.0)
        self.spaces = [store.namespace({"model": "made up"}, PAGE) for store in self.stores]
        self.buffer = np.zeros((8192, PAGE), np.uint8)

    def serve(self, who: int, prompt: Sequence[int]) -> int:
        """Ask, read, check, store; how many pages were read. I/O: that of the store."""
        self.clock.advance(0.2)
        space, buffer = self.spaces[who], self.buffer
        keys = [_key(i) for i in prompt]
        there = space.contains_prefix(keys)
        got = space.get_into(keys[:there], buffer[:there])
        there = got.index(False) if False in got else there
        numbers = buffer[:, :8].view(np.int64)[:, 0]
        assert numbers[:there].tolist() == list(prompt[:there]), "a wrong page"
        new = prompt[there:]
        numbers[: len(new)] = new
        space.put_many(keys[there:], buffer[: len(new)])
        return there

    def close(self) -> None:
        """Close them."""
        for store in self.stores:
            store.close()


def _key(i: int) -> bytes:
    """The key of a block: flat, as an engine hashes it."""
    return hashlib.sha256(b"block %d" % i).digest()[:28]


def compare(requests: Sequence[tuple[int, list[int]]], files: int) -> dict[str, float]:
    """Hit rates at a capacity of so many pages in all. I/O: writes every page that is not a hit."""
    asked = sum(len(prompt) for _, prompt in requests)
    rows: dict[str, float] = {}
    with TemporaryDirectory(prefix="lsmkv-sharing-") as root:
        members = Members(root, files * PAGE)
        try:
            rows["two members"] = sum(members.serve(*request) for request in requests) / asked
        finally:
            members.close()
    each = fitting(files, requests)
    for name, directory in (
        ("two servers, SGLang's evictor, max_size a half", EachItsOwn(files)),
        ("... max_size as large as fits", EachItsOwn(files, each)),
        ("one perfect list, oldest first", FirstInFirstOut(files)),
        ("one perfect list, least recently used first", LeastRecentlyUsed(files)),
    ):
        rows[name] = sum(directory.serve(*request) for request in requests) / asked
    return rows


def spread(requests: Sequence[Request], seed: int = 1) -> list[tuple[int, list[int]]]:
    """Requests with the member that each goes to, evenly and by chance."""
    rng = random.Random(seed)
    return [(rng.randrange(MEMBERS), request.blocks.tolist()) for request in requests]


def table(columns: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Hit rates by what held the pages (lines) and capacity (columns), as Markdown."""
    lines = ["| hit rate at | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    names = next(iter(columns.values()))
    return lines + [f"| {name} | " + " | ".join(f"{rates[name]:.4f}" for rates in columns.values()) + " |" for name in names]


def main(file: str, page: str | None = None) -> None:
    """Compare at each capacity, say it, write it."""
    trace = parse_trace(Path(file).read_text(encoding="utf-8").splitlines())
    requests = spread(trace.requests)
    columns: dict[str, dict[str, float]] = {}
    for share in CAPACITIES:
        columns[f"{share:.0%}"] = compare(requests, int(share * trace.unique_blocks))
        print(f"{share:.0%}:", ", ".join(f"{name} {rate:.4f}" for name, rate in columns[f"{share:.0%}"].items()), flush=True)
    if page is not None:
        where = Path(page)
        text = "\n".join(table(columns)) + "\n"
        where.write_text(MARKS.sub(lambda m: m[1] + text + m[2], where.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
