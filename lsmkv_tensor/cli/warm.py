"""``lsmkv warm``: bring a store's index and pages into the page cache before its server asks for them.

It reads files and nothing else: no lock is taken, nothing is changed, a writer may have the store open. The segments filled last
come first, each from front to back, neighbouring pages with one read. What helps is the page cache, so it helps stores that
read through it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from posixpath import basename, join
from typing import Annotated

import typer

from lsmkv.cli.output import emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.env.fs import File, FileSystem
from lsmkv.observe.picture import human_bytes
from lsmkv_tensor.cli.bars import bytes_bar
from lsmkv_tensor.cli.namespaces import chosen
from lsmkv_tensor.cli.opened import check_page_store
from lsmkv_tensor.cli.survey import follow_index, namespaces_of, segment_files, segments_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.vlog.disks import known_disks
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.reserved import RESERVED

__all__ = ["Warmed", "warm"]

CHUNK_BYTES = 8 << 20
"""Bytes read at a time, into the same memory."""
MAX_GAP = 64 << 10
"""Bytes between two pages that are read along rather than skipped."""

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The page store's directory.")]
Which = Annotated[str | None, typer.Option("--namespace", help="Only this namespace's pages: its name, number or digest.")]
Index = Annotated[bool, typer.Option("--index/--no-index", help="Read the index.")]
Pages = Annotated[bool, typer.Option("--pages/--no-pages", help="Read the pages.")]
Most = Annotated[
    int | None, typer.Option("--most-mib", min=1, help="Stop after so many MiB of pages (what memory has room for).")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]

Stretch = tuple[str, int, int]
"""File, first byte, end."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """What was read."""

    path: str
    index_bytes: int
    pages: int
    page_bytes: int
    """Bytes read for them, gaps included."""
    left_pages: int
    """Pages left out by ``--most-mib``."""


def warm(
    ctx: typer.Context,
    path: StorePath,
    which: Which = None,
    index: Index = True,
    pages: Pages = True,
    most_mib: Most = None,
    as_json: Json = False,
) -> None:
    """Bring a page store's index and pages into memory (the page cache), beside a live server too. Ctrl-C ends it at any time."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        check_page_store(tools, path)
        if not index and not pages:
            msg = "--no-index --no-pages leaves nothing to do"
            raise InvalidArgumentError(msg)
        tables = [(at, 0, tools.fs.size(at)) for at in _tables(tools.fs, path)] if index else []
        wanted, count, left = _pages(tools.fs, path, which, most_mib) if pages else ([], 0, 0)
        index_bytes, page_bytes = _size(tables), _size(wanted)
        with bytes_bar("warming", index_bytes + page_bytes, shown=not as_json) as advance:
            _read(tools.fs, tables, advance)
            _read(tools.fs, wanted, advance)
        done = Warmed(path, index_bytes, count, page_bytes, left)
        if as_json:
            emit_json(asdict(done))
        else:
            rest = f"; {left:,} pages left out" if left else ""
            told = f"{count:,} pages ({human_bytes(page_bytes)})" if pages else "no pages"
            typer.echo(f"read the index ({human_bytes(index_bytes)}), {told}{rest}" if index else f"read {told}{rest}")


def _tables(fs: FileSystem, path: str) -> Iterator[str]:
    """The table files of the index."""
    directory = join(path, "index")
    return (join(directory, name) for name in fs.listdir(directory) if name.endswith(".sst"))


def _pages(fs: FileSystem, path: str, which: str | None, most_mib: int | None) -> tuple[list[Stretch], int, int]:
    """Where the pages are, youngest segment first; how many, and how many are left out. I/O: a scan of the index."""
    with follow_index(fs, path) as follower, follower.snapshot() as now:
        prefix = chosen(namespaces_of(now), which).number.to_bytes(4, "big") if which is not None else None
        entries = now.scan(prefix=prefix) if prefix is not None else now.scan(start=RESERVED + b"\xff")
        segments = segments_of(now, path)
        files = {int(basename(at).removesuffix(".seg")): at for at in segment_files(fs, known_disks(now, path))}
        found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for _, value in entries:
            place = Place.unpack(value)
            if place is not None and place.segment in files:
                found[place.segment].append((place.offset, place.offset + place.length))
    room = most_mib << 20 if most_mib is not None else None
    stretches: list[Stretch] = []
    taken = left = 0
    for number in sorted(found, key=lambda n: -segments[n].generation if n in segments else 0):
        for start, end in sorted(found[number]):
            if room is not None and end - start > room:
                left += 1
                continue
            room = None if room is None else room - (end - start)
            taken += 1
            if stretches and stretches[-1][0] == files[number] and 0 <= start - stretches[-1][2] <= MAX_GAP:
                stretches[-1] = (files[number], stretches[-1][1], end)
            else:
                stretches.append((files[number], start, end))
    return stretches, taken, left


def _size(stretches: list[Stretch]) -> int:
    """Bytes of them."""
    return sum(end - start for _, start, end in stretches)


def _read(fs: FileSystem, stretches: list[Stretch], advance: Callable[[int], None]) -> None:
    """Read them all; a file that is gone was rewritten meanwhile and is passed over."""
    memory = memoryview(bytearray(CHUNK_BYTES))
    opened: tuple[str, File | None] = ("", None)
    for path, start, end in stretches:
        if opened[0] != path:
            try:
                opened = (path, fs.open(path))
            except FileNotFoundError:
                opened = (path, None)
        file = opened[1]
        for at in range(start, end, CHUNK_BYTES):
            size = min(CHUNK_BYTES, end - at)
            if file is not None:
                file.preadv([memory[:size]], at)
            advance(size)
