"""``lsmkv load``: sorted data from a file into a store, with a bar that shows how far it is.

Two formats. JSON lines: an object with ``key`` and ``value`` a line. Tabs: key, tab, value a line; neither may hold a tab or line
break, which ``hex`` makes sure of. Keys must ascend as bytes: ``LC_ALL=C sort`` does that for tabs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from lsmkv.cli.chosen import search_here
from lsmkv.cli.output import emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.db import open as open_store
from lsmkv.errors import InvalidArgumentError
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.observe.picture import human_bytes
from lsmkv.options import Options

__all__ = ["register"]

CHUNK_BYTES = 1 << 20
"""What is read at once."""

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="Sorted entries, a line each; '-' for standard input.")]
Format = Annotated[
    Literal["jsonl", "tsv"] | None,
    typer.Option(
        "--format",
        help='jsonl: {"key": .., "value": ..} a line; tsv: key, tab, value. [default: tsv for names in .tsv, else jsonl]',
    ),
]
Encoding = Annotated[Literal["utf-8", "hex"], typer.Option(help="How keys and values are written.")]
Create = Annotated[bool, typer.Option("--create", help="Make a store if there is none at PATH.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = load
    tools.app.command()(command)


def load(
    ctx: typer.Context,
    path: StorePath,
    file: File,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    create: Create = False,
    as_json: Json = False,
) -> None:
    """Load sorted entries into a store, all of them or none; nobody else may have it open. Much faster than putting them."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        tools.refuse_all_but_trees(path, "load")
        if not create:
            _refuse_nothing(tools, path)
        chosen = format_ or ("tsv" if file.endswith(".tsv") else "jsonl")
        parse = _json_line if chosen == "jsonl" else _tab_line
        search_here()  # its policy may be one of the user's own
        with _source(file) as (source, size), _bar(size, shown=not as_json) as advance:  # before a store is made for it
            lines = _lines(_chunks(source, advance))
            with open_store(path, Options(create=create, scheduler=ManualScheduler())) as db:
                report = db.load_sorted(_pairs(lines, parse, encoding))
        if as_json:
            emit_json({"path": path, **report.to_dict()})
        elif report.level is None:
            typer.echo("nothing to load")
        else:
            told = f"{human_bytes(report.raw_bytes)} of keys and values, {human_bytes(report.bytes)} in {report.tables:,} tables"
            typer.echo(f"{report.entries:,} entries, {told}, at level {report.level}")


def _refuse_nothing(tools: Tools, path: str) -> None:
    """Refuse a path without a store."""
    try:
        tools.store_kind(path)
    except InvalidArgumentError as error:
        if tools.fs.exists(path) and not tools.fs.isdir(path):
            raise
        raise InvalidArgumentError(f"{error}: --create makes a store there") from error


@contextmanager
def _source(path: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """What is loaded, opened, and its bytes where that is known: a pipe has a name, too, in the shell's ``<(sort data)``."""
    if path == "-":
        yield sys.stdin.buffer, None
        return
    with Path(path).open("rb") as source:
        yield source, Path(path).stat().st_size if Path(path).is_file() else None


def _chunks(source: IO[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of a file, as they are read."""
    while data := source.read(CHUNK_BYTES):
        yield data
        advance(len(data))


def _lines(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty and their numbers, from 1. A carriage return at the end belongs to the line break."""
    number, rest = 0, b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            if kept := line.removesuffix(b"\r"):
                yield number, kept
    if kept := rest.removesuffix(b"\r"):
        yield number + 1, kept


def _pairs(
    lines: Iterator[tuple[int, bytes]], parse: Callable[[bytes], tuple[str, str]], encoding: str
) -> Iterator[tuple[bytes, bytes]]:
    """The entries; InvalidArgumentError names the line that is none, or whose key does not ascend."""
    encode: Callable[[str], bytes] = bytes.fromhex if encoding == "hex" else str.encode
    last: bytes | None = None
    for number, line in lines:
        try:
            key, value = map(encode, parse(line))
        except (ValueError, RecursionError) as error:
            raise InvalidArgumentError(f"line {number} is no entry ({error}): {line[:80]!r}") from error
        if last is not None and key <= last:
            raise InvalidArgumentError(
                f"line {number}: key {key[:80]!r} does not sort after the key before it; nothing was loaded"
            )
        last = key
        yield key, value


def _json_line(line: bytes) -> tuple[str, str]:
    """Key and value of a JSON object."""
    told = json.loads(line)
    if not isinstance(told, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the line is wrong, not the program
    wrong = [name for name in ("key", "value") if not isinstance(told.get(name), str)]
    if wrong:
        raise ValueError(f"its {wrong[0]} is no string" if wrong[0] in told else f"no {wrong[0]}")
    return told["key"], told["value"]


def _tab_line(line: bytes) -> tuple[str, str]:
    """Key and value around the tab."""
    key, *values = line.decode().split("\t")
    if len(values) != 1:
        raise ValueError("more than one tab" if values else "no tab")
    return key, values[0]


@contextmanager
def _bar(size: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; what it is told the bytes to that were read, of ``size`` if known."""
    err = Console(stderr=True)
    if not shown or not err.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("loading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("loading", total=size)
        yield lambda more: progress.advance(task, more)
