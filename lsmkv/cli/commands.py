"""The commands of ``lsmkv``: each finds out what a path holds and has the matching part of the library look at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lsmkv.cli.output import FAILED, console, emit_json, emit_records, guard, plain
from lsmkv.cli.tools import Tools
from lsmkv.errors import InvalidArgumentError
from lsmkv.observe.files import load_manifest
from lsmkv.observe.picture import human_bytes, policy_line, rows, text_picture
from lsmkv.observe.tree import render_tree
from lsmkv.observe.verify import VerifyReport
from lsmkv.version.manifest import ManifestState

__all__ = ["register"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def register(tools: Tools) -> None:
    """Add the commands that work on any kind of store or file."""
    for command in (tree, stats, verify, dump, checkpoint):
        function: Callable[..., Any] = command
        tools.app.command()(function)


def tree(ctx: typer.Context, path: StorePath, as_json: Json = False) -> None:
    """Draw the tree: levels and how full they are, filter bits, and where each run lies in the key space; of a root, each."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        kind = tools.store_kind(path)
        if kind.parts is None:
            _tree(path, load_manifest(tools.fs, kind.engine_path(path)), as_json=as_json)
            return
        found = {part: load_manifest(tools.fs, tools.store_kind(part).engine_path(part)) for part in kind.parts(tools.fs, path)}
        if as_json:
            emit_json({"path": path, "members": [_tree_record(part, state) for part, state in found.items()]})
            return
        for part, state in found.items():
            _tree(part, state, as_json=False)


def _tree(path: str, state: ManifestState, *, as_json: bool) -> None:
    """One store's tree."""
    out = console()
    if as_json:
        emit_json(_tree_record(path, state))
    elif out.is_terminal:
        out.print(render_tree(state.shape, state.policy, title=path))
    else:
        typer.echo(f"{path}: {text_picture(state.shape, state.policy)}")


def _tree_record(path: str, state: ManifestState) -> dict[str, object]:
    """One store's tree as a record."""
    return {
        "path": path,
        "policy": state.policy,
        "entries": state.shape.entries,
        "bytes": state.shape.bytes,
        "range_deletes": len(state.shape.ranges.fragments),
        "levels": [
            asdict(row) | {"sorted_runs": asdict(level)["runs"]}
            for row, level in zip(rows(state.shape, state.policy), state.shape.levels, strict=True)
        ],
    }


def stats(ctx: typer.Context, path: StorePath, as_json: Json = False) -> None:
    """Say how much a store holds and what its files take."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        kind = tools.store_kind(path)
        report = kind.report(tools.fs, path)
        if as_json:
            emit_json({"kind": kind.name, **report})
            return
        typer.echo(f"{kind.name} at {path}")
        for name, value in report.items():
            _explain(name, value, indent=2)


def _explain(name: str, value: object, indent: int) -> None:
    """One fact a line; records below their name; what tables show better than lines is left to ``tree``."""
    if name in ("path", "levels", "account"):
        return
    if isinstance(value, Mapping) and value and not name.endswith("policy"):
        typer.echo(f"{'':{indent}}{name.replace('_', ' ')}")
        for inner, fact in value.items():
            _explain(f"{inner}_bytes" if name in ("bytes_read", "bytes_written") else inner, fact, indent + 2)
        if name == "cost":
            _explain_levels(value["levels"], indent + 2)
        return
    shown = policy_line(value) if isinstance(value, Mapping) and value else plain(value)
    if (name == "bytes" or name.endswith("_bytes")) and isinstance(value, int):
        shown = f"{value:,} ({human_bytes(value)})"
    typer.echo(f"{'':{indent}}{name.replace('_', ' '):<{29 - indent}} {shown if shown not in ('', '[]', 'None') else '-'}")


def _explain_levels(levels: Sequence[Mapping[str, object]], indent: int) -> None:
    """One line a level: what its filters let through, as measured and as predicted, and how much was written into it."""
    for level in levels:
        facts = [level[name] for name in ("false_positive_rate", "predicted_false_positive_rate", "copies")]
        measured, predicted, copies = ["-" if fact is None else plain(fact) for fact in facts]
        shown = f"{measured} measured, {predicted} predicted; copies {copies}"
        typer.echo(f"{'':{indent}}{'false positives, level ' + str(level['level']):<{29 - indent}} {shown}")


def verify(
    ctx: typer.Context,
    path: StorePath,
    liveness: Annotated[
        bool, typer.Option("--liveness", help="Instead, count the live bytes of a page store's segments again.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="With --liveness: write the right counts; nobody may have it open.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check every byte of a store: checksums, order, filters, what the manifest says. Exit code 2 if anything is wrong."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        if liveness or repair:
            _recount(tools, path, liveness=liveness, repair=repair, as_json=as_json)
            return
        report = tools.store_kind(path).verify(tools.fs, path)
        if as_json:
            emit_json(report.to_dict())
        else:
            _show_verdict(report)
        if report.problems:
            typer.echo(f"lsmkv: {path}: {len(report.problems)} problem(s), first: {report.problems[0]}", err=True)
            raise typer.Exit(FAILED)


def _recount(tools: Tools, path: str, *, liveness: bool, repair: bool, as_json: bool) -> None:
    """``verify --liveness``."""
    kind = tools.store_kind(path)
    if not liveness:
        msg = "--repair goes with --liveness; a damaged store is mended by: lsmkv repair"
        raise InvalidArgumentError(msg)
    if kind.recount is None:
        kind.refuse(tools.fs, path, "it has no segments whose live bytes are counted")
    report = kind.recount(tools.fs, path, repair=repair)
    wrong = report["wrong"]
    assert isinstance(wrong, list)
    if as_json:
        emit_json(report)
    else:
        table = Table(
            "segment", "pages", "counted", "bytes", "counted", title=f"{report['segments']} segments", title_justify="left"
        )
        for one in wrong:
            cells = [one[name] for name in ("segment", "recorded_pages", "pages", "recorded_bytes", "bytes")]
            table.add_row(*(f"{cell:,}" for cell in cells))
        if wrong:
            console().print(table)
        else:
            console().print(f"ok: {report['segments']} segments, every count is exact")
    if wrong and not report["repaired"]:
        typer.echo(
            f"lsmkv: {path}: {len(wrong)} segment(s) counted wrong; lsmkv verify --liveness --repair puts it right", err=True
        )
        raise typer.Exit(FAILED)


def _show_verdict(report: VerifyReport) -> None:
    """The outcome of a check, for people."""
    out = console()
    checked = f"{report.files:,} files, {human_bytes(report.bytes)}, {report.entries:,} entries"
    if report.problems:
        table = Table("file", "offset", "problem", title=f"checked {checked}", title_justify="left")
        for problem in report.problems:
            table.add_row(problem.file, str(problem.offset) if problem.offset >= 0 else "", Text(problem.what, style="red"))
        out.print(table)
    else:
        out.print(f"ok: {checked}, nothing wrong")
    for warning in report.warnings:
        out.print(f"note: {warning}", markup=False)


def dump(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A log, table, manifest or segment file.")],
    limit: Annotated[int | None, typer.Option(min=0, help="Stop after this many records.", show_default="all")] = None,
    as_json: Json = False,
) -> None:
    """Show the records of one file, in file order: offset, kind of record, fields."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        emit_records(tools.file_kind(file).records(tools.fs, file), as_json=as_json, limit=limit)


def checkpoint(
    ctx: typer.Context,
    path: StorePath,
    dest: Annotated[str, typer.Argument(metavar="DEST", help="A directory that does not exist yet, or is empty.")],
    as_json: Json = False,
) -> None:
    """Write a consistent copy of a store; nobody else may have it open. Tables are shared (hard links) where possible."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        kind = tools.store_kind(path)
        tools.refuse_all_but_trees(path, "checkpoint")
        assert kind.checkpoint is not None
        kind.checkpoint(path, dest)
        report = kind.report(tools.fs, dest)
        if as_json:
            emit_json({"path": path, "dest": dest, **_pick(report, ("tables", "entries", "bytes", "last_seq"))})
        else:
            typer.echo(f"{dest}: {plain(report['tables'])} tables, {plain(report['entries'])} entries")


def _pick(report: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    """Some fields of a record."""
    return {name: report[name] for name in names}
