"""``lsmkv controller log``: what a store's controller decided, what it promised, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from lsmkv.cli.output import console, emit_json, guard
from lsmkv.cli.tools import Tools
from lsmkv.controller.journal import read_journal
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.geometry import Geometry

__all__ = ["register"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Show only so many decisions, the last ones.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]

Line = Mapping[str, object]
MIB = 1 << 20


def register(tools: Tools) -> None:
    """Add the group."""
    group = typer.Typer(name="controller", help="What a store's adaptive controller does.", no_args_is_help=True)
    command: Callable[..., None] = log
    group.command("log")(command)
    tools.app.add_typer(group, name="controller")


def log(ctx: typer.Context, path: StorePath, limit: Limit = None, as_json: Json = False) -> None:
    """Every decision on record with its prediction and its outcome; reads the journal only, also beside a live writer."""
    tools: Tools = ctx.obj
    with guard(as_json=as_json):
        engine = tools.store_kind(path).engine_path(path)
        decisions = _joined(read_journal(tools.fs, engine))
        shown = decisions if limit is None else decisions[-limit:]
        if as_json:
            emit_json({"path": path, "decisions": shown})
            return
        if not shown:
            msg = (
                f"{path} has no journal: its controller has decided nothing (Options(controller=lsmkv.Adaptive()) starts one; "
                "of a page store StoreOptions(controller=lsmkv_tensor.StoreController()))"
            )
            raise InvalidArgumentError(msg)
        console().print(_table(shown))


def _joined(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    """Decisions, oldest first, each with its outcome if there is one."""
    found: dict[object, dict[str, object]] = {}
    for line in lines:
        number = line.get("decision")
        if line.get("kind") != "outcome":
            found[number] = {**line, "outcome": None}
        elif number in found:
            found[number]["outcome"] = {name: value for name, value in line.items() if name not in ("kind", "decision")}
    return list(found.values())


def _table(decisions: list[dict[str, object]]) -> Table:
    """For people."""
    table = Table(box=None, pad_edge=False)
    for name in ("no.", "when", "mode", "decision"):
        table.add_column(name, justify="right" if name == "no." else "left", overflow="fold")
    for name in ("costs", "saves/op", "outcome"):
        table.add_column(name, justify="left" if name == "outcome" else "right", overflow="fold")
    for one in decisions:
        cost = _number(one, "cost_blocks")
        saves = _number(one, "saves_bytes_per_byte" if _steers_pages(one) else "saves_blocks_per_operation")
        when = datetime.fromtimestamp(_number(one, "at_s"), UTC)
        table.add_row(
            str(one.get("decision")),
            f"{when:%Y-%m-%d %H:%M:%S}",
            str(one.get("mode")),
            _what(one),
            f"{cost:,.0f}" if cost else "-",
            f"{saves:.3g}",
            _outcome(one.get("outcome"), one),
        )
    pages = bool(decisions) and _steers_pages(decisions[-1])
    table.caption = (
        "savings in bytes written, for each byte asked for; docs/controller.md"
        if pages
        else "costs and savings in block fetches; docs/controller.md"
    )
    table.caption_justify = "left"
    return table


def _what(one: Line) -> str:
    """The decision in words."""
    if _steers_pages(one):
        return f"{one.get('kind')}: {one.get('from')} -> {one.get('to')}"
    runs = one.get("runs")
    if isinstance(runs, list):
        return f"merge {len(runs)} runs"
    if "memory_to" in one:
        judged = " (by seconds)" if "block_s" in one else ""
        return f"{_memory(one.get('memory_from'))} -> {_memory(one.get('memory_to'))}{judged}"
    return f"{_point(one.get('from'))} -> {_point(one.get('to'))}"


def _memory(told: object) -> str:
    """A split of the memory in words."""
    if not isinstance(told, Mapping):
        return "?"
    mib, bits = _number(told, "memtable_bytes") / MIB, _number(told, "filter_bits_per_key")
    return f"memtable {mib:.3g} MiB, filters {bits:.3g} bits"


def _steers_pages(one: Line) -> bool:
    """Whether it is a decision about a setting of a page store."""
    return "hit_worth" in one


def _point(told: object) -> str:
    """A point of the continuum in words."""
    from lsmkv.controller.act import policy_at  # noqa: PLC0415 - only a table needs the policies' names
    from lsmkv.observe.picture import policy_line  # noqa: PLC0415 - as above
    from lsmkv.policy.registry import describe_policy  # noqa: PLC0415 - as above

    if not isinstance(told, Mapping):
        return "?"
    try:
        geometry = Geometry(told["size_ratio"], (told["K"],), told["Z"])
    except (KeyError, InvalidArgumentError):
        return str(dict(told))
    return policy_line(describe_policy(policy_at(geometry)))


def _outcome(told: object, decision: Line) -> str:
    """The outcome in words."""
    if not isinstance(told, Mapping):
        if decision.get("mode") == "advise":
            return "advised only"
        return "-" if decision.get("kind") == "moves" else "not known yet"
    if told.get("overtaken"):
        return "overtaken: the runs were merged otherwise"
    if _steers_pages(decision):
        asked, read, written, gained = (
            _number(told, f"{name}_bytes") / MIB for name in ("asked", "delivered", "written", "gained")
        )
        return (
            f"{asked:,.1f} MiB asked, {read:,.1f} delivered, {written:,.1f} written: {gained:,.1f} better than before (estimate)"
        )
    count = f"in {_number(told, 'operations'):,.0f} operations"
    if "saved_blocks" in told:
        return f"paid {_number(told, 'paid_blocks'):,.0f}, saved {_number(told, 'saved_blocks'):,.0f} {count}"
    did, would = (_number(told, f"{name}_per_operation") for name in ("did_cost_blocks", "would_have_cost_blocks"))
    return f"{did:.3g} an operation, {would:.3g} expected without it, {count}"


def _number(line: Mapping[str, object], name: str) -> float:
    """A number of a line; 0 for what is none."""
    value = line.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
