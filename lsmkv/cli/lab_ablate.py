"""``lsmkv lab ablate``: one workload on a grid of trees, measured beside predicted."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from lsmkv.cli.chosen import search_here
from lsmkv.cli.lab_output import Csv, Json, Plots, Seed, bar, check_outputs, keep, show, table_of, tell_interrupted
from lsmkv.cli.output import INTERRUPTED, emit_json, guard
from lsmkv.cost.grids import shape_name
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.ablation import Cell, cells_of, policies_of, ratios_of, run_cell
from lsmkv.lab.tidy import Record, Rows
from lsmkv.lab.workload_yaml import find_workload

__all__ = ["ablate"]

Work = Annotated[
    str, typer.Option("--workload", metavar="NAME|FILE", help="One that comes along (`lsmkv lab workloads`), or a YAML file.")
]
Policies = Annotated[
    str, typer.Option(metavar="LIST", help="With commas between, parameters behind colons: leveled,fluid:K=3,my.module:Mine.")
]
Ratios = Annotated[
    str, typer.Option("--size-ratios", metavar="RANGE", help="2..10, or 2,4,10; ratios that a K does not fit are left out.")
]
Filters = Annotated[str, typer.Option(metavar="LIST", help="How filter memory is shared out: monkey, uniform or both.")]
Bits = Annotated[float, typer.Option("--filter-bits-per-key", metavar="BITS", help="Filter memory.")]
Level0 = Annotated[int, typer.Option("--level0-runs", min=0, help="Flushed runs that may stay at level 0.")]
Slices = Annotated[int, typer.Option(help="Parts of each phase that get rows of their own, for costs over time.")]
Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIRECTORY", help="Run on real files, in a temporary directory there."),
]


def ablate(
    workload: Work = "balanced",
    policies: Policies = "leveled,tiered,lazy,fluid:K=3",
    size_ratios: Ratios = "2..10",
    filters: Filters = "monkey,uniform",
    filter_bits_per_key: Bits = 10.0,
    level0_runs: Level0 = 1,
    slices: Slices = 8,
    store: Store = None,
    seed: Seed = 0,
    csv: Csv = None,
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Run the engine on a grid of policies, size ratios and filter allocations: what each costs, beside what the model says.

    Ctrl-C keeps the cells that are done. A cell takes some seconds, mostly for the load.
    """
    with guard(as_json=as_json):
        search_here()
        check_outputs(csv, plots)
        if store is not None and not store.is_dir():
            msg = f"--store {store}: there is no such directory"
            raise InvalidArgumentError(msg)
        cells = cells_of(
            find_workload(workload),
            policies_of(policies.split(","), ratios_of(size_ratios)),
            [one.strip() for one in filters.split(",")],
            filter_bits_per_key=filter_bits_per_key,
            level0_runs=level0_runs,
            slices=slices,
            store=str(store) if store is not None else None,
            seed=seed,
        )
        done, interrupted = _run(cells, quiet=as_json)
        rows = Rows("ablate", tuple(done))
        made = keep(rows, csv, plots)
        if as_json:
            emit_json({"complete": not interrupted, "cells": len(cells), "rows": [dict(row) for row in rows]})
        elif len(rows):
            _table(rows)
            for file in made:
                typer.echo(f"wrote {file}")
        if interrupted:
            tell_interrupted(rows)
            raise typer.Exit(INTERRUPTED)


def _run(cells: list[Cell], *, quiet: bool) -> tuple[list[Record], bool]:
    """Cell after cell, until the end or Ctrl-C."""
    done: list[Record] = []
    try:
        with bar("ablating", len(cells), quiet=quiet) as begin:
            for cell in cells:
                begin(f"{shape_name(cell.setup.policy)}, {cell.setup.filters}")
                done += run_cell(cell)
    except KeyboardInterrupt:
        return done, True
    return done, False


_SHOWN = (
    ("zero_lookup_blocks", "absent"),
    ("lookup_blocks", "present"),
    ("scan_blocks", "scan"),
    ("update_copies", "copies"),
    ("space_amplification", "space"),
)


def _table(rows: Rows) -> None:
    """Costs of whole phases: measured, and predicted in brackets."""
    lines: defaultdict[tuple[str, ...], dict[str, Record]] = defaultdict(dict)
    for row in rows.where(slice=0):
        lines[str(row["phase"]), str(row["policy"]), str(row["filters"])][str(row["cost"])] = row
    known = [(cost, head) for cost, head in _SHOWN if any(cost in line for line in lines.values())]
    phases = len({names[0] for names in lines}) > 1
    names_shown = (*(["phase"] if phases else []), "tree", "filters")
    table = table_of((*names_shown, *(head for _, head in known)), names_shown)
    for names, line in lines.items():
        table.add_row(*names[0 if phases else 1 :], *(_shown(line.get(cost)) for cost, _ in known))
    show(table)
    typer.echo("blocks per operation, copies per entry written, bytes per live byte: measured (predicted)")


def _shown(row: Record | None) -> str:
    """A cost of the table."""
    if row is None:
        return "-"
    said = row["predicted"]
    return f"{row['measured']:.3g}" + (f" ({said:.3g})" if said is not None else "")
