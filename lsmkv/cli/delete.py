"""``lsmkv delete-range``: every key of a range at once, whatever their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from lsmkv.cli.chosen import search_here
from lsmkv.cli.output import emit_json, guard, plain
from lsmkv.cli.read import Hex, StorePath, key_bytes
from lsmkv.cli.tools import Tools
from lsmkv.db import open as open_store
from lsmkv.errors import InvalidArgumentError
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.options import Options
from lsmkv.read.scan import prefix_range

__all__ = ["register"]

Start = Annotated[str | None, typer.Option(metavar="KEY", help="The first key to delete.")]
Stop = Annotated[str | None, typer.Option(metavar="KEY", help="Where to stop; itself not deleted.")]
Prefix = Annotated[str | None, typer.Option(metavar="KEY", help="Only keys that begin with this.")]
All = Annotated[bool, typer.Option("--all", help="Every key, where neither --start, --stop nor --prefix is given.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = delete_range
    tools.app.command()(command)


def delete_range(
    ctx: typer.Context,
    path: StorePath,
    start: Start = None,
    stop: Stop = None,
    prefix: Prefix = None,
    everything: All = False,
    as_hex: Hex = False,
    as_json: Json = False,
) -> None:
    """Delete every key of a range, durably, at a cost that does not grow with their number; nobody else may have it open."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        tools.store_kind(path)
        tools.refuse_all_but_trees(path, "delete-range")
        low, high, begin = [None if bound is None else key_bytes(bound, as_hex=as_hex) for bound in (start, stop, prefix)]
        if everything == any((low, high, begin)):  # an empty one, of a variable that was not set, is no choice of all keys
            raise InvalidArgumentError("which keys? --start, --stop or --prefix says it, or else --all")
        low, high = prefix_range(low, high, begin)
        search_here()  # its policy may be one of the user's own
        with open_store(path, Options(create=False, scheduler=ManualScheduler())) as db:
            db.delete_range(low, high, sync=True)
            db.flush()
            held = db.stats().range_deletes
        if as_json:
            emit_json({"path": path, "start": low, "stop": high, "range_deletes": held})
        else:
            low_, high_ = (f"{word} {plain(key)}" if key is not None else "" for word, key in (("from", low), ("up to", high)))
            typer.echo(f"deleted {' '.join(filter(None, (low_, high_))) or 'everything'}; range deletes held: {held}")
