"""``lsmkv repair``: say what is wrong with a store and what a repair would cost, and carry it out when told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from lsmkv.cli.output import FAILED, emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.errors import InvalidArgumentError
from lsmkv.recover.repair import repair as repair_store
from lsmkv.recover.repair_report import RepairReport

__all__ = ["register"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
Yes = Annotated[bool, typer.Option("--yes", help="Repair without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing: only say what would be done.")]
Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="Make the tree anew from the table files, even if the manifest reads well.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = repair
    tools.app.command()(command)


def repair(
    ctx: typer.Context,
    path: StorePath,
    yes: Yes = False,
    dry_run: DryRun = False,
    rebuild: Rebuild = False,
    as_json: Json = False,
) -> None:
    """Make a damaged store one that opens again; says what is lost and moves the originals into the directory ASIDE.

    Nobody else may have it open. Exit code 2 if it is damaged and was not repaired.
    """
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        if yes and dry_run:
            msg = "--yes and --dry-run exclude each other"
            raise InvalidArgumentError(msg)
        if as_json and not yes and not dry_run:
            msg = "--json asks no questions: add --yes or --dry-run"
            raise InvalidArgumentError(msg)
        tools.refuse_all_but_trees(path, "repair")  # a directory that is no store any more may still be repaired
        report = repair_store(path, dry_run=not yes, rebuild=rebuild)
        if not as_json:
            _tell(report)
        if not yes and not dry_run and not report.healthy and _agreed():
            report = repair_store(path, rebuild=rebuild)
            _tell(report)
        if as_json:
            emit_json(report.to_dict())
        if report.dry_run and not report.healthy:
            typer.echo(f"lsmkv: {path}: {len(report.found)} problem(s), nothing was changed", err=True)
            raise typer.Exit(FAILED)


def _agreed() -> bool:
    """Whether the repair is wanted. The end of the input, or Ctrl-C, is a no like any other."""
    try:
        return typer.confirm("Repair it?")
    except typer.Abort:
        typer.echo()
        return False


def _tell(report: RepairReport) -> None:
    """A report for people."""
    if report.healthy:
        typer.echo(f"{report.path}: healthy, nothing to repair ({report.tables:,} tables, {report.entries:,} entries)")
        for loss in report.losses:
            typer.echo(f"dropped  at the next opening, never acknowledged as durable: {loss}")
        for doubt in report.doubts:
            typer.echo(f"unknown  {doubt}")
        return
    for finding in report.found:
        typer.echo(f"found    {finding}")
    for loss in report.losses:
        typer.echo(f"lost     {loss}")
    for doubt in report.doubts:
        typer.echo(f"unknown  {doubt}")
    if report.deleted_keys_may_return:
        typer.echo("note     deletions may be among what is lost: a deleted key may answer with an older value of its own")
    typer.echo(
        f"tables   {report.tables_found:,} found: {report.tables_sound:,} sound, {report.tables_salvaged:,} salvaged, "
        f"{report.tables_dropped:,} of no use; {report.tables_missing:,} missing"
    )
    typer.echo(
        f"entries  {report.entries_sound:,} in sound tables, {report.entries_salvaged:,} salvaged, {report.entries_replayed:,} "
        f"from logs; {report.entries_twice:,} of them twice"
    )
    does = "would be" if report.dry_run else "is"
    typer.echo(f"manifest {does} {report.manifest}: {report.tables:,} tables, {report.entries:,} entries")
    typer.echo(f"aside    {len(report.moved):,} files {'would be' if report.dry_run else 'were'} moved into {report.path}/ASIDE")
    if report.account:
        typer.echo(f"report   {report.path}/ASIDE/{report.account}")
