"""``lsmkv get`` and ``lsmkv scan``: entries of a store, also of one that another process is writing.

Both follow the store (``read_only=True``): they take no lock, change nothing, and show what its writer has committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from shlex import quote
from typing import Annotated

import typer

from lsmkv.cli.output import emit_json, emit_records, guard, plain
from lsmkv.cli.tools import Record, Tools
from lsmkv.db import open as open_store
from lsmkv.errors import InvalidArgumentError
from lsmkv.follow import Follower
from lsmkv.options import Options

__all__ = ["ABSENT", "Hex", "StorePath", "key_bytes", "register"]

ABSENT = 1
"""Exit code of ``get`` for a key that is not there."""

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key, as text (UTF-8); with --hex in hexadecimal.")]
Hex = Annotated[bool, typer.Option("--hex", help="Keys on the command line are hexadecimal.")]
Raw = Annotated[bool, typer.Option("--raw", help="The value's bytes on standard output, as they are, and nothing else.")]
Start = Annotated[str | None, typer.Option(metavar="KEY", help="The first key.")]
Stop = Annotated[str | None, typer.Option(metavar="KEY", help="Where to stop; itself not shown.")]
Prefix = Annotated[str | None, typer.Option(metavar="KEY", help="Only keys that begin with this.")]
Reverse = Annotated[bool, typer.Option("--reverse", help="In descending order.")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many entries; 0: all.")]
KeysOnly = Annotated[bool, typer.Option("--keys", help="Keys without values.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output and nothing else; bytes in hexadecimal.")
]


def register(tools: Tools) -> None:
    """Add the commands."""
    for command in (get, scan):
        function: Callable[..., None] = command
        tools.app.command()(function)


def get(ctx: typer.Context, path: StorePath, key: Key, as_hex: Hex = False, raw: Raw = False, as_json: Json = False) -> None:
    """Show the value of a key, also beside a live writer. Exit code 1 if the key is not there."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        if raw and as_json:
            msg = "--raw and --json: choose one"
            raise InvalidArgumentError(msg)
        wanted = key_bytes(key, as_hex=as_hex)
        with _follow(tools, path) as store:
            value = store.get(wanted)
        if as_json:
            emit_json({"path": path, "key": wanted, "found": value is not None, "value": value})
        elif value is not None:
            typer.echo(value if raw else plain(value, whole=True), nl=not raw)
        if value is None:
            typer.echo(f"lsmkv: {path}: no such key: {plain(wanted)}", err=True)
            raise typer.Exit(ABSENT)


def scan(
    ctx: typer.Context,
    path: StorePath,
    start: Start = None,
    stop: Stop = None,
    prefix: Prefix = None,
    reverse: Reverse = False,
    limit: Limit = 100,
    keys: KeysOnly = False,
    as_hex: Hex = False,
    as_json: Json = False,
) -> None:
    """Show entries in key order, of one moment, also beside a live writer."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        bounds = [None if bound is None else key_bytes(bound, as_hex=as_hex) for bound in (start, stop, prefix)]
        with _follow(tools, path) as store, store.scan(bounds[0], bounds[1], prefix=bounds[2], reverse=reverse) as entries:
            last: list[bytes] = []
            shown = _noted(islice(entries, limit or None), last)
            if as_json:
                emit_records(_records(shown, keys_only=keys), as_json=True, limit=None)
            else:
                for key, value in shown:
                    typer.echo(plain(key) if keys else f"{plain(key)}  {plain(value)}")
            after = next(entries, None) if limit else None
            if after is not None:
                onwards = _option("--stop", last[0], as_hex) if reverse else _option("--start", after[0], as_hex)
                typer.echo(f"lsmkv: there are more; --limit 0 shows all, {onwards} goes on", err=True)


def _noted(entries: Iterator[tuple[bytes, bytes]], last: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Entries as they come; ``last`` holds the key of the last one."""
    for key, value in entries:
        last[:] = [key]
        yield key, value


def _option(name: str, key: bytes, as_hex: bool) -> str:
    """An option that names a key, ready for the shell."""
    text = key.decode("ascii", "replace")
    if as_hex or not text.isascii() or not text.isprintable():
        return f"--hex {name} {key.hex()}"
    return f"{name} {quote(text)}"


def _records(entries: Iterator[tuple[bytes, bytes]], *, keys_only: bool) -> Iterator[Record]:
    """Entries as JSON has them."""
    for key, value in entries:
        yield {"key": key} if keys_only else {"key": key, "value": value}


def _follow(tools: Tools, path: str) -> Follower:
    """The LSM-tree of a store, of whatever kind, followed."""
    return open_store(tools.store_kind(path).engine_path(path), Options(fs=tools.fs, refresh_s=None), read_only=True)


def key_bytes(text: str, *, as_hex: bool) -> bytes:
    """A key from the command line; InvalidArgumentError for what is not hexadecimal and should be."""
    if not as_hex:
        return text.encode("utf-8", "surrogateescape")  # an argument that is no UTF-8 is its own bytes
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        msg = f"{text!r}: with --hex keys are given in hexadecimal, two digits a byte"
        raise InvalidArgumentError(msg) from None
