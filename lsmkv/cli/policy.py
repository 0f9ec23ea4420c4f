"""``lsmkv set-policy``: another compaction policy for a store, and what the change costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from lsmkv.cli.chosen import chosen_policy
from lsmkv.cli.output import emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.db import open as open_store
from lsmkv.errors import InvalidArgumentError
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.observe.files import load_manifest
from lsmkv.observe.picture import human_bytes, policy_line
from lsmkv.options import Options
from lsmkv.policy.registry import from_description
from lsmkv.policy.transition import TransitionReport

__all__ = ["register"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
PolicyText = Annotated[
    str,
    typer.Argument(
        metavar="POLICY", help="leveled, tiered, lazy, fluid, fifo or module:Class; parameters follow: lazy,size_ratio=4."
    ),
]
Pace = Annotated[Literal["greedy", "lazy"], typer.Option(help="Merge what is surplus now, or as levels fill.")]
Settle = Annotated[bool, typer.Option("--settle", help="Do all the work that is due before leaving.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = set_policy
    tools.app.command()(command)


def set_policy(
    ctx: typer.Context,
    path: StorePath,
    policy: PolicyText,
    pace: Pace = "greedy",
    settle: Settle = False,
    as_json: Json = False,
) -> None:
    """Change the compaction policy of a store and say what that costs; nobody else may have it open."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        tools.store_kind(path)
        tools.refuse_all_but_trees(path, "set-policy")
        chosen = chosen_policy(policy)
        lost = _lost(tools, path)
        options = Options(create=False, scheduler=ManualScheduler(), policy=chosen if lost else None)
        with open_store(path, options) as db:
            report = db.stats().transition if lost else None  # opening it with another policy was the switch
            if report is None or pace == "lazy":
                report = replace(db.set_policy(chosen, pace), **lost)
            if settle:
                db.settle()
                report = replace(db.stats().transition or report, **lost)
        if as_json:
            emit_json({"path": path, **report.to_dict()})
        else:
            _tell(report)


def _lost(tools: Tools, path: str) -> dict[str, Any]:
    """What a report has to say it comes from if the recorded policy cannot be made any more; empty if it can."""
    recorded = load_manifest(tools.fs, path).policy
    try:
        from_description(recorded)
    except InvalidArgumentError:
        return {"from_policy": dict(recorded)}
    return {}


def _tell(report: TransitionReport) -> None:
    """A report for people."""
    typer.echo(f"from {policy_line(report.from_policy)} to {policy_line(report.to_policy)}, {report.pace}")
    debt = report.predicted
    typer.echo(f"predicted  {human_bytes(debt.bytes)} in {debt.blocks:,} blocks, {debt.steps:,} steps")
    typer.echo(f"paid       {human_bytes(report.paid_bytes)} in {report.paid_blocks:,} blocks, {report.paid_steps:,} steps")
    left = report.remaining
    typer.echo(f"remaining  {human_bytes(left.bytes)}, {left.steps:,} steps{' (done)' if report.done else ''}")
