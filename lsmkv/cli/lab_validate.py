"""``lsmkv lab validate``: does the model tell the truth? The engine on a grid of trees, beside what was predicted of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lsmkv.cli.lab_output import Csv, Json, Plots, Seed, bar, check_outputs, keep, show, table_of, tell_interrupted
from lsmkv.cli.output import INTERRUPTED, emit_json, guard
from lsmkv.cost.grids import shape_name
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.ablation import ratios_of
from lsmkv.lab.numbers import count_of
from lsmkv.lab.scores import Choice, Score, choices, score, seconds
from lsmkv.lab.tidy import Record, Rows
from lsmkv.lab.validation import FILTERS, Sizes, grid, plan_cell, run_cell

__all__ = ["validate"]

Entries = Annotated[str, typer.Option(metavar="COUNT", help="Keys of each store; fewer than 500k give trees of few levels.")]
Flush = Annotated[str, typer.Option("--flush-entries", metavar="COUNT", help="Writes after which a memtable is flushed.")]
Ratios = Annotated[str, typer.Option("--size-ratios", metavar="RANGE", help="2..10, or 2,4,10.")]
Given = Annotated[
    Path | None, typer.Option("--rows", metavar="FILE", help="Judge the rows of an earlier run (its --csv) instead of running.")
]


def validate(
    entries: Entries = "543k",
    flush_entries: Flush = "500",
    size_ratios: Ratios = "2,4,6,10",
    rows: Given = None,
    seed: Seed = 0,
    csv: Csv = None,
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Run the engine on a grid of trees, growing and overwritten, and judge the model's predictions of every cost.

    Takes about a quarter of an hour of processor time: 26 cells of 20 to 40 s, in memory (some 300 MB). Ctrl-C keeps the cells
    that are done.
    """
    with guard(as_json=as_json):
        check_outputs(csv, plots)
        sizes = Sizes(entries=count_of("--entries", entries), flush_entries=count_of("--flush-entries", flush_entries))
        ratios = ratios_of(size_ratios)
        interrupted = False
        if rows is not None:
            if not rows.is_file():
                msg = f"--rows {rows}: there is no such file"
                raise InvalidArgumentError(msg)
            found = Rows.from_csv("validate", rows)
        else:
            done, interrupted = _run(sizes, ratios, seed, quiet=as_json)
            found = Rows("validate", tuple(done))
        made = keep(found, csv, plots)
        scores = score(found) + score(seconds(found))
        chosen = choices(found)
        if as_json:
            told = [one._asdict() | {"reached": one.reached} for one in scores]
            picked = [one._asdict() | {"regret": one.regret} for one in chosen]
            emit_json({"scores": told, "choices": picked, "complete": not interrupted})
        elif len(found):
            _tell(scores, chosen)
            for file in made:
                typer.echo(f"wrote {file}")
        if interrupted:
            tell_interrupted(found)
            raise typer.Exit(INTERRUPTED)


def _run(sizes: Sizes, ratios: list[int], seed: int, *, quiet: bool) -> tuple[list[Record], bool]:
    """Cell after cell, until the end or Ctrl-C."""
    cells = [(policy, filters) for policy in grid(ratios) for filters in FILTERS]
    done: list[Record] = []
    try:
        with bar("validating", len(cells), quiet=quiet) as begin:
            for policy, filters in cells:
                begin(f"{shape_name(policy)}, {filters}")
                done += list(run_cell(plan_cell(policy, filters, sizes, seed)))
    except KeyboardInterrupt:
        return done, True
    return done, False


def _tell(scores: list[Score], chosen: list[Choice]) -> None:
    """Both tables."""
    heads = ("cost", "cells", "mean error", "worst", "Spearman", "few false positives", "largest difference", "target")
    table = table_of(heads, ("cost", "target"))
    for one in scores:
        shown = [f"{x:.1%}" if x is not None else "-" for x in (one.error, one.worst)]
        rank = f"{one.rank:.3f}" if one.rank is not None else "-"
        absolute = f"{one.absolute:.4f}" if one.absolute is not None else "-"
        table.add_row(one.cost, str(one.cells), *shown, rank, str(one.small), absolute, "reached" if one.reached else "missed")
    show(table)
    if not chosen:
        return
    headings = ("mix", "the model chooses", "blocks", "best measured", "its blocks", "regret")
    table = table_of(headings, ("mix", "the model chooses", "best measured"))
    for choice in chosen:
        blocks = (f"{choice.chosen_blocks:.4g}", f"{choice.best_blocks:.4g}")
        table.add_row(choice.mix, choice.chosen, blocks[0], choice.best, blocks[1], f"{choice.regret:.1%}")
    typer.echo()
    show(table)
