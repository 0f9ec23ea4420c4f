"""``lsmkv lab curves``: the classic figures, from closed forms and the exact model."""

from __future__ import annotations

from typing import Annotated

import typer

from lsmkv.cli.lab_output import Csv, Json, Plots, Seed, check_outputs, keep
from lsmkv.cli.output import emit_json, guard
from lsmkv.lab.curves import FIGURES
from lsmkv.lab.curves import curves as points

__all__ = ["curves"]

Figures = Annotated[
    list[str] | None, typer.Argument(metavar="[FIGURE]...", help="monkey, dostoevsky, size-ratio, allocation; none: all.")
]
Bits = Annotated[
    float, typer.Option("--filter-bits-per-key", metavar="BITS", help="Filter memory, where the figure does not vary it.")
]


def curves(
    figures: Figures = None,
    filter_bits_per_key: Bits = 10.0,
    seed: Seed = 0,
    csv: Csv = None,
    plots: Plots = None,
    as_json: Json = False,
) -> None:
    """Draw the classic figures from the model, running nothing.

    Lookups against memory (Monkey), writes against reads (Dostoevsky), costs over size ratios, false-positive rates by level.
    """
    with guard(as_json=as_json):
        check_outputs(csv, plots)
        rows = points(figures or None, filter_bits_per_key=filter_bits_per_key, seed=seed)
        made = keep(rows, csv, plots)
        if as_json:
            emit_json([dict(row) for row in rows])
            return
        for name in figures or FIGURES:
            own = rows.where(figure=name)
            lines = dict.fromkeys(str(row["line"]) for row in own)
            typer.echo(f"{name}: {own[0]['y_name']} over {own[0]['x_name']}, {len(own)} points, lines: {'; '.join(lines)}")
        for file in made:
            typer.echo(f"wrote {file}")
        if not made:
            typer.echo("--plots DIRECTORY draws them, --csv FILE keeps the points")
