"""``lsmkv namespaces``: whose pages a store holds, how much of it they take, and forgetting one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from rich.table import Table

from lsmkv.cli.output import console, emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.observe.picture import human_bytes
from lsmkv_tensor.cli.bars import pages_bar
from lsmkv_tensor.cli.opened import check_page_store, open_as_it_is
from lsmkv_tensor.cli.survey import follow_index, namespaces_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.registry import NamespaceInfo
from lsmkv_tensor.vlog.ranges import NamespaceSize, measure
from lsmkv_tensor.vlog.reserved import RECORDS, number_key

__all__ = ["chosen", "namespaces"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The page store's directory.")]
Action = Annotated[
    Literal["list", "size", "drop"],
    typer.Argument(
        metavar="[list|size|drop]",
        help="list (default): what is registered. size: pages and bytes too, by a scan of the index. drop: forget one.",
    ),
]
Which = Annotated[str | None, typer.Argument(metavar="NAMESPACE", help="Only this one: its name, number or digest.")]
Yes = Annotated[bool, typer.Option("--yes", help="drop: do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def namespaces(
    ctx: typer.Context, path: StorePath, action: Action = "list", which: Which = None, yes: Yes = False, as_json: Json = False
) -> None:
    """Show a page store's namespaces, beside a live writer too; or drop one and all its pages (nobody else may have it open)."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        check_page_store(tools, path)
        if action == "drop":
            _drop(tools, path, which, yes=yes, as_json=as_json)
            return
        found = _look(tools, path, which, sizes=action == "size")
        if as_json:
            emit_json({"path": path, "namespaces": [_document(info) for info in found]})
        elif found:
            console().print(_table(found))
        else:
            typer.echo("no namespace is registered")


def chosen(found: Sequence[NamespaceInfo], which: str) -> NamespaceInfo:
    """The one of this name, number or digest; InvalidArgumentError, naming those that there are."""
    for info in found:
        if which in (*info.names, str(info.number), info.digest.hex()):
            return info
    known = ", ".join(name for info in found for name in info.names) or "none with a name"
    msg = f"there is no namespace {which!r} (by name, number or digest); there are: {known}"
    raise InvalidArgumentError(msg)


def _look(tools: Tools, path: str, which: str | None, *, sizes: bool) -> list[NamespaceInfo]:
    """What is registered. I/O: a short scan; with sizes, one of the index."""
    with follow_index(tools.fs, path) as follower, follower.snapshot() as index:
        found = namespaces_of(index)
        if which is not None:
            found = [chosen(found, which)]
        if not sizes:
            return found
        return [
            info._replace(
                size=measure(
                    (value for _, value in index.scan(prefix=info.number.to_bytes(4, "big"))),
                    sum(1 for _ in index.scan(prefix=number_key(RECORDS, info.number))),
                )
            )
            for info in found
        ]


def _drop(tools: Tools, path: str, which: str | None, *, yes: bool, as_json: bool) -> None:
    """Ask, then drop."""
    if which is None:
        msg = "which namespace? `lsmkv namespaces PATH drop NAMESPACE` says it; `lsmkv namespaces PATH` shows what there is"
        raise InvalidArgumentError(msg)
    (info,) = _look(tools, path, which, sizes=True)
    size = info.size
    assert size is not None
    title = _title(info)
    if not yes:
        if as_json:
            msg = "with --json nobody is asked: say --yes"
            raise InvalidArgumentError(msg)
        told = f"{size.pages:,} pages, {human_bytes(size.disk_bytes)} on disk"
        if not typer.confirm(f"Forget namespace {title} with {told}?", err=True):
            typer.echo("nothing was dropped", err=True)
            raise typer.Exit(1)
    with open_as_it_is(tools.fs, path) as store, pages_bar("dropping", size.pages, shown=not as_json) as progress:
        dropped = store.drop_namespace(info.number, progress=progress)
    if as_json:
        emit_json({"path": path, "namespace": _document(info), "dropped_pages": dropped})
    else:
        typer.echo(f"dropped namespace {title}: {dropped:,} pages; their space is used again by later pages or by gc")


def _title(info: NamespaceInfo) -> str:
    """A name for people."""
    return f"{info.names[0]!r}" if info.names else f"number {info.number}"


def _document(info: NamespaceInfo) -> dict[str, object]:
    """A namespace as JSON."""
    told: dict[str, object] = {
        "number": info.number,
        "names": list(info.names),
        "digest": info.digest,
        "page_bytes": info.page_bytes,
        "fields": info.fields,
    }
    return told if info.size is None else {**told, **_sizes(info, info.size)}


def _sizes(info: NamespaceInfo, size: NamespaceSize) -> dict[str, object]:
    """What it holds, as JSON."""
    return {
        "pages": size.pages,
        "bytes": size.pages * info.page_bytes,
        "stored_bytes": size.stored_bytes,
        "disk_bytes": size.disk_bytes,
        "pages_by_codec": size.codecs,
        "records": size.records,
    }


def _table(found: Sequence[NamespaceInfo]) -> Table:
    """Namespaces as a table."""
    sizes = any(info.size is not None for info in found)
    table = Table(box=None, pad_edge=False)
    for heading, right in (("number", True), ("name", False), ("page", True)):
        table.add_column(heading, justify="right" if right else "left")
    for heading in ("pages", "bytes", "stored", "on disk") if sizes else ():
        table.add_column(heading, justify="right")
    table.add_column("fields", overflow="fold")
    for info in found:
        cells = [str(info.number), ", ".join(info.names) or "-", human_bytes(info.page_bytes)]
        if info.size is not None:
            amounts = (info.size.pages * info.page_bytes, info.size.stored_bytes, info.size.disk_bytes)
            cells += [f"{info.size.pages:,}", *map(human_bytes, amounts)]
        fields = ", ".join(f"{key}={value}" for key, value in info.fields.items())
        table.add_row(*cells, fields)
    return table
