"""``lsmkv lab phases``: workloads that change, and who copes with them (docs/controller.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lsmkv.cli.lab_output import Csv, Plots, check_outputs, keep
from lsmkv.cli.output import FAILED, INTERRUPTED, console, emit_json, guard
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.phases.live import LiveOutcome, live_sequence, small_sequence
from lsmkv.lab.phases.result import Result, check, load_result, save_result
from lsmkv.lab.phases.rivals import SHAPES
from lsmkv.lab.phases.sequences import draw_sequence
from lsmkv.lab.phases.trial import STRATEGIES, Outcome, constants_seed, try_sequence

__all__ = ["phases"]

CUT_SHORT = "interrupted: these are the sequences that were done by then"
NOTHING_DONE = "interrupted before a sequence was done: nothing is written"

Count = Annotated[int, typer.Option(min=1, help="Sequences to simulate.")]
Engine = Annotated[int, typer.Option(min=0, help="Sequences to run in the engine as well.")]
Seed = Annotated[
    str | None,
    typer.Option(help="Draw the sequences from this text, to tune.  [default: the SHA-256 of the controller's constants]"),
]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON.")]
From = Annotated[Path | None, typer.Option("--from", metavar="FILE", help="Show a result written before instead of a new one.")]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="With --from: fail if the constants have changed since, if a sequence plays otherwise, or a target is missed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def phases(
    sequences: Count = 40,
    engine: Engine = 0,
    seed: Seed = None,
    out: Out = None,
    given: From = None,
    csv: Csv = None,
    plots: Plots = None,
    check_it: Check = False,
    as_json: Json = False,
) -> None:
    """Play workloads that change by every static shape, by simpler rules and by the controller; costs over the best static.

    Ctrl-C keeps the sequences that are done.
    """
    with guard(as_json=as_json):
        _refuse_useless(given, check_it=check_it, made=seed is not None or out is not None or engine > 0)
        if check_it and (csv is not None or plots is not None):
            msg = "--check only judges: --csv and --plots would do nothing"
            raise InvalidArgumentError(msg)
        if out is not None and not out.absolute().parent.is_dir():
            msg = f"--out {out}: there is no directory {out.parent}"
            raise InvalidArgumentError(msg)
        check_outputs(csv, plots)
        if check_it and given is not None:
            _check(given)
            return
        interrupted = False
        if given is not None:
            result = load_result(given)[0]
        else:
            result, interrupted = _run(seed or constants_seed(), sequences, engine)
        if result.sequences:
            if out is not None:
                save_result(result, out)
            made = keep(result.rows(), csv, plots)
            if as_json:
                emit_json(result.to_dict())
            else:
                _tell(result)
                for file in made:
                    typer.echo(f"wrote {file}")
        if interrupted:
            typer.echo(CUT_SHORT if result.sequences else NOTHING_DONE, err=True)
            raise typer.Exit(INTERRUPTED)


def _refuse_useless(given: Path | None, *, check_it: bool, made: bool) -> None:
    """Refuse options that would do nothing, and a file that is not there. ``made``: some are for a new result."""
    if check_it and given is None:
        msg = "--check needs --from FILE: the result that is to be checked"
        raise InvalidArgumentError(msg)
    if given is not None and made:
        msg = "--from shows a result that is there: --seed, --engine and --out would do nothing"
        raise InvalidArgumentError(msg)
    if given is not None and not given.is_file():
        msg = f"--from {given}: there is no such file"
        raise InvalidArgumentError(msg)


def _check(path: Path) -> None:
    """Say what is wrong and fail, or that nothing is."""
    wrong = check(path)
    for text in wrong:
        typer.echo(f"lsmkv: {text}", err=True)
    if wrong:
        raise typer.Exit(FAILED)
    typer.echo(f"{path}: made with these constants, its first sequence plays as it says, every target that must be kept is kept")


def _run(seed: str, count: int, engine: int) -> tuple[Result, bool]:
    """Play everything, with a bar; until the end or Ctrl-C."""
    done: list[Outcome] = []
    live: list[LiveOutcome] = []
    interrupted = False
    try:
        with _bar(count + engine * (len(SHAPES) + 1)) as step:
            for number in range(count):
                done.append(try_sequence(draw_sequence(seed, number)))
                step(f"sequence {number}")
            for number in range(engine):
                for outcome in live_sequence(small_sequence(seed, number)):
                    if isinstance(outcome, LiveOutcome):
                        live.append(outcome)
                    step(f"sequence {number} in the engine")
    except KeyboardInterrupt:
        interrupted = True
    return Result(seed, tuple(done), tuple(live)), interrupted


class _Step:
    """Advances a bar by one."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar, self._task = bar, bar.add_task("", total=total)

    def __call__(self, what: str) -> None:
        """One step of work, called ``what``, is done."""
        self._bar.update(self._task, advance=1, description=what)


@contextmanager
def _bar(total: int) -> Iterator[_Step]:
    """A bar on standard error if that is a terminal."""
    out = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not sys.stderr.isatty()) as bar:
        yield _Step(bar, total)


def _tell(result: Result) -> None:
    """A result for people."""
    out = console()
    table = Table(
        box=None, pad_edge=False, title=f"cost over the best static shape in hindsight, {len(result.sequences)} sequences"
    )
    table.title_justify = "left"
    for name in ("who", "mean", "90th percentile", "maximum"):
        table.add_column(name, justify="left" if name == "who" else "right")
    for name in STRATEGIES:
        told = result.spread(name)
        table.add_row(name, f"{told.mean:.3f}", f"{told.p90:.3f}", f"{told.most:.3f}")
    out.print(table)
    out.print(f"the default is {result.gain:.2f} times better than leveling at 10, on average")
    out.print(f"targets missed: {'; '.join(result.misses()) or 'none'}")
    for one in result.engine:
        out.print(
            f"in the engine, sequence {one.number}: default {one.default:.3f} (simulated {one.default_simulated:.3f}), "
            f"leveling at 10 {one.leveling:.3f} ({one.leveling_simulated:.3f}), best {one.best} ({one.best_simulated})"
        )
