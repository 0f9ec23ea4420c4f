"""What the laboratory's commands share: a bar while they work, and where their results go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from lsmkv.cli.output import console
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.plots import need_matplotlib
from lsmkv.lab.tidy import Rows

__all__ = ["Csv", "Json", "Plots", "Seed", "bar", "check_outputs", "keep", "show", "table_of", "tell_interrupted"]

CUT_SHORT = "interrupted: these are the cells that were done by then"
NOTHING_DONE = "interrupted before a cell was done: nothing is written"

Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows as CSV.")]
Plots = Annotated[Path | None, typer.Option("--plots", metavar="DIRECTORY", help="Draw pictures (PNG) into a directory.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same counts.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def check_outputs(csv: Path | None, plots: Path | None) -> None:
    """Refuse places where nothing can be written before long work, and pictures without matplotlib."""
    if csv is not None and (csv.is_dir() or not csv.absolute().parent.is_dir()):
        msg = f"--csv {csv}: " + ("is a directory" if csv.is_dir() else f"there is no directory {csv.parent}")
        raise InvalidArgumentError(msg)
    if plots is not None:
        if plots.exists() and not plots.is_dir():
            msg = f"--plots {plots}: is a file, not a directory"
            raise InvalidArgumentError(msg)
        need_matplotlib()


def tell_interrupted(rows: Rows) -> None:
    """Say on standard error what there is after Ctrl-C."""
    typer.echo(CUT_SHORT if len(rows) else NOTHING_DONE, err=True)


def table_of(heads: Sequence[str], left: Sequence[str]) -> Table:
    """An empty table; the columns in ``left`` begin at the left, all others end at the right."""
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="left" if head in left else "right", no_wrap=True)
    return table


def show(table: Table) -> None:
    """Print a table; where nobody sees how wide a line may be, it is as wide as it needs to be."""
    out = console()
    if not out.is_terminal:
        out = Console(highlight=False, width=200)
    out.print(table)


@contextmanager
def bar(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar over ``total`` cells on the terminal; call what is yielded with the name of the cell that begins."""
    out = console() if console().is_terminal and not quiet else Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cell]}"),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("", total=total, cell="")
        begun = 0

        def begin(cell: str) -> None:
            """One more is done, another begins."""
            nonlocal begun
            progress.update(task, completed=begun, cell=cell)
            begun += 1

        yield begin


def keep(rows: Rows, csv: Path | None, plots: Path | None) -> Sequence[Path]:
    """Write what was asked for; the files. Without rows none: nothing takes the place of an earlier result. I/O: writes them."""
    made: list[Path] = []
    if csv is not None and len(rows):
        rows.to_csv(csv)
        made.append(csv)
    if plots is not None and len(rows):
        made += rows.plot(plots)
    return made
