"""``lsmkv export`` and ``lsmkv import``: pages of one store, in a file, into another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lsmkv.cli.output import FAILED, emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.env.posix import PosixFileSystem
from lsmkv.observe.picture import human_bytes
from lsmkv_tensor.cli.bars import bytes_bar, pages_bar
from lsmkv_tensor.cli.followed import FollowedPages
from lsmkv_tensor.cli.namespaces import chosen
from lsmkv_tensor.cli.opened import check_page_store, open_as_it_is
from lsmkv_tensor.cli.sizes import bytes_of
from lsmkv_tensor.cli.survey import follow_index, namespaces_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import ANCHORED
from lsmkv_tensor.keys.flat import flat_key
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.packs import ImportReport, export_pack, import_pack
from lsmkv_tensor.registry import NamespaceInfo

__all__ = ["export", "import_"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The page store's directory.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="The pack to write: a new file.")]
Pack = Annotated[str, typer.Argument(metavar="PACK", help="A file that `lsmkv export` wrote.")]
Which = Annotated[
    str | None, typer.Option("--namespace", metavar="NAMESPACE", help="Name, number or digest; needed where there are several.")
]
Prefix = Annotated[
    list[str] | None,
    typer.Option(
        "--prefix",
        metavar="TOKENS|KEY",
        help="What to export, may be repeated: token ids of a prompt (1,2,3 or @FILE that holds them; the longest stored prefix "
        "goes), or, where an engine made the keys, a page key (text or hexadecimal). Without it everything.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")]
Capacity = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Most the store may take on disk, such as 20GiB; never less than it does. [default: 16GiB]"
    ),
]
Create = Annotated[bool, typer.Option("--create", help="Make a store if there is none at PATH.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def export(
    ctx: typer.Context,
    path: StorePath,
    out: Out,
    which: Which = None,
    prefix: Prefix = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write pages of one namespace to a file, to warm up other stores with; works beside a live writer."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        check_page_store(tools, path)
        with follow_index(tools.fs, path) as follower, follower.snapshot() as index:
            info = _one(namespaces_of(index), which)
        tensors = info.fields.get("keys") == ANCHORED
        prefixes = [_tokens(text) for text in prefix] if prefix and tensors else None
        keys = [flat_key(text) for text in prefix] if prefix and not tensors else None
        fs = PosixFileSystem()
        with FollowedPages(tools.fs, path, info) as source:
            total = source.count() if prefix is None else None
            with pages_bar("exporting", total, shown=not as_json) as progress:
                report = export_pack(source, out, prefixes=prefixes, keys=keys, fs=fs, overwrite=force, progress=progress)
        if as_json:
            emit_json({"store": path, "namespace": list(info.names), **asdict(report)})
            return
        missing = f"; {report.missing:,} were not there or cannot be read" if report.missing else ""
        typer.echo(f"{out}: {report.pages:,} pages, {human_bytes(report.bytes)}{missing}")


def import_(
    ctx: typer.Context, path: StorePath, pack: Pack, capacity: Capacity = None, create: Create = False, as_json: Json = False
) -> None:
    """Put the pages of a pack into a store that nobody else has open; damaged pages are left out and told."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        if not (create and tools.kind_at(path) is None):
            check_page_store(tools, path)
        size = Path(pack).stat().st_size
        room = bytes_of(capacity, "--capacity") if capacity is not None else StoreOptions().capacity_bytes
        with open_as_it_is(tools.fs, path, room) as store, bytes_bar("importing", size, shown=not as_json) as progress:
            report = import_pack(store, pack, progress=progress)
        if as_json:
            emit_json({"store": path, "ok": report.ok, **asdict(report)})
        else:
            _tell(report)
        if not report.ok:
            raise typer.Exit(FAILED)


def _one(found: Sequence[NamespaceInfo], which: str | None) -> NamespaceInfo:
    """The namespace that is meant."""
    if which is not None:
        return chosen(found, which)
    if len(found) != 1:
        known = ", ".join(name for info in found for name in info.names) or "none with a name"
        msg = f"the store holds {len(found)} namespaces: --namespace says which ({known})"
        raise InvalidArgumentError(msg)
    return found[0]


def _tokens(text: str) -> list[int]:
    """Token ids from the command line or a file: numbers with commas or spaces between them, or a JSON array."""
    source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    try:
        ids = json.loads(source) if source.lstrip().startswith("[") else [int(word) for word in source.replace(",", " ").split()]
    except ValueError as error:
        msg = f"--prefix {text[:40]!r}: token ids are wanted, such as 1,2,3 or @FILE ({error})"
        raise InvalidArgumentError(msg) from error
    return list(ids)


def _tell(report: ImportReport) -> None:
    """An import, for people."""
    for problem in report.problems:
        typer.echo(problem, err=True)
    told = [f"{report.pages:,} pages stored, {human_bytes(report.bytes)}"]
    counts = (
        ("there already", report.present),
        ("ended meanwhile", report.ended),
        ("not stored for lack of room", report.declined),
        ("damaged", report.damaged),
    )
    told += [f"{count:,} {what}" for what, count in counts if count]
    typer.echo("; ".join(told) + ("" if report.complete else "; the pack was cut short"))
