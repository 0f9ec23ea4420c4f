"""``lsmkv explain``: what a store's operations cost, predicted beside measured, and what other shapes would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from lsmkv.base.ledger import Account, at_switch
from lsmkv.cli.calibrate import prices
from lsmkv.cli.chosen import chosen_policy, search_here
from lsmkv.cli.output import console, emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.cost.choice import Judged
from lsmkv.cost.description import BLOCK_BYTES, system_of, workload_of
from lsmkv.cost.explaining import Compared, Explanation, asked_of, explain_tree
from lsmkv.cost.grids import shape_name
from lsmkv.cost.ledger import measure
from lsmkv.cost.seconds import KINDS, Seconds
from lsmkv.errors import InvalidArgumentError
from lsmkv.observe.files import load_manifest
from lsmkv.policy.registry import from_description

__all__ = ["register"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
ScanEntries = Annotated[float, typer.Option(min=1, help="Entries that a scan returns: nobody counted them.")]
LiveEntries = Annotated[
    float | None, typer.Option(min=1, help="Keys that are overwritten at random. [default: each key was written once]")
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", help="Judge this shape, say fluid,size_ratio=6,K=2; repeatable. [default: named ones]"),
]
BlockBytes = Annotated[int, typer.Option(min=1, help="Size of a block that the store was written with.")]
CacheBytes = Annotated[int, typer.Option(min=0, help="Block cache to reckon with; the tables that fit it cost no device read.")]
Level0 = Annotated[int, typer.Option("--level0-runs", min=0, help="Flushed tables that the store was opened to keep at level 0.")]
File = Annotated[str | None, typer.Option("--prices", help="What `lsmkv calibrate` wrote. [default: where it writes]")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]

QUANTITIES = {
    "zero_lookup_blocks": "blocks, absent key",
    "lookup_blocks": "blocks, present key",
    "zero_lookup_filter_checks": "filters asked, absent key",
    "lookup_filter_checks": "filters asked, present key",
    "scan_blocks": "blocks, scan",
    "read_amplification": "device reads a lookup",
    "update_copies": "copies of an entry",
    "write_amplification": "write amplification",
    "space_amplification": "space amplification",
    "false_positive_rate": "false positives",
    "answers": "present keys found here",
    "copies": "copies of an entry",
}
"""In words."""
MICRO = 1e6
CACHE_BYTES = 32 << 20
"""What stores are opened with unless somebody says otherwise."""


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = explain
    tools.app.command()(command)


def explain(
    ctx: typer.Context,
    path: StorePath,
    scan_entries: ScanEntries = 32,
    live_entries: LiveEntries = None,
    policies: Policies = None,
    block_bytes: BlockBytes = BLOCK_BYTES,
    cache_bytes: CacheBytes = CACHE_BYTES,
    level0_runs: Level0 = 4,
    price_file: File = None,
    as_json: Json = False,
) -> None:
    """Set what operations cost beside what the model predicts, by level; and say what other shapes would cost."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        kind = tools.store_kind(path)
        if kind.parts is not None:
            members = ", ".join(kind.parts(tools.fs, path))
            raise InvalidArgumentError(f"{path} is a {kind.name}: explain one of its stores ({members})")
        search_here()
        others = None if policies is None else [chosen_policy(text) for text in policies]
        state = load_manifest(tools.fs, kind.engine_path(path))
        seconds = prices(tools.fs, price_file)
        shape = replace(state.shape, level0_runs=level0_runs)
        whole, before = Account.from_dict(state.ledger), at_switch(state.ledger)
        found = measure(whole - before, shape)
        policy = from_description(state.policy)
        system = system_of(shape, policy, block_bytes=block_bytes, block_cache_bytes=cache_bytes, seconds=seconds)
        told = explain_tree(shape, found, workload_of(asked_of(found.account, whole), scan_entries, live_entries), system, others)
        if as_json:
            emit_json({"path": path, **told.to_dict()})
        else:
            _show(path, told, seconds, switched=before != Account())


def _show(path: str, told: Explanation, seconds: Seconds | None, *, switched: bool) -> None:
    """For people."""
    out = console()
    levels = sum(level.runs > 0 for level in told.predicted.levels)
    runs = sum(level.runs for level in told.predicted.levels)
    entries = told.system.entries or 0
    out.print(
        f"{path}: {shape_name(told.system.policy)}; {entries:,} entries in {_count(runs, 'run')} on {_count(levels, 'level')}"
    )
    account = told.measured.account
    since = "since the policy was changed" if switched else "so far"
    if any((account.absent, account.gets.found, account.scans, account.entries)):
        words = ", ".join(f"{share:.1%} {kind.replace('_', ' ')}" for kind, share in zip(KINDS, told.workload.mix, strict=True))
        out.print(f"asked {since}: {words}")
    else:
        out.print(f"asked {since}: nothing on record (counts are recorded when a store is closed)")
    _compared(out, told)
    if told.now is not None:
        _what_if(out, told.now, told.what_if)
        if seconds is None:
            out.print("`lsmkv calibrate` once, and this is told in microseconds.")


def _compared(out: Console, told: Explanation) -> None:
    """The whole tree, then level by level."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("the whole tree", no_wrap=True, min_width=46)
    for name in ("predicted", "measured", "error"):
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    about = None
    levels = {level.level: level for level in told.predicted.levels}
    for one in told.compared:
        if one.level != about and one.level is not None:
            level = levels[one.level]
            facts = (
                f"{level.runs} run{'s' * (level.runs != 1)}, {level.entries:,} entries, {level.filter_bits_per_key:.1f} bits each"
            )
            table.add_section()
            table.add_row(f"level {one.level}: {facts if level.runs else 'empty'}", style="bold")
        about = one.level
        name = f"{'' if about is None else '  '}{QUANTITIES[one.name]}"
        table.add_row(name, _number(one.predicted), _number(one.measured), _error(one))
    out.print(table)


def _what_if(out: Console, now: Judged, others: tuple[Judged, ...]) -> None:
    """What other shapes would cost."""
    unit = "blocks" if now.seconds is None else "microseconds"
    out.print(f"What other shapes would cost, {unit} an operation, averaged over the trees that they keep:")
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("shape", no_wrap=True)
    for name in ("absent", "present", "scan", "update", "mean", "to now", "write", "space"):
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    for one in (now, *(other for other in others if other.policy != now.policy)):
        costs = one.blocks.vector if one.seconds is None else tuple(cost * MICRO for cost in one.seconds.vector)
        each = one.per_operation * (1 if one.seconds is None else MICRO)
        ratio = f"{one.per_operation / now.per_operation:.2f}x" if now.per_operation else "-"
        name = f"{one.name}, now" if one is now else one.name
        amplifications = (one.write_amplification, one.space_amplification)
        table.add_row(name, *map(_number, costs), _number(each), ratio, *(f"{a:.2f}" for a in amplifications))
    out.print(table)


def _number(value: float | None) -> str:
    """A number in few characters."""
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _count(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _error(one: Compared) -> str:
    """How far a prediction is off."""
    return "-" if one.error is None else f"{one.error:+.1%}"
