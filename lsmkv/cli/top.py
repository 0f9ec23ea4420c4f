"""``lsmkv top``: a store that another process has open, live in the terminal; also as plain frames and as JSON lines."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from lsmkv.cli.output import guard
from lsmkv.cli.tools import Tools
from lsmkv.cli.top_view import draw
from lsmkv.env.clock import Clock, SystemClock, zone_s
from lsmkv.errors import InvalidArgumentError, LsmError
from lsmkv.observe.frame import Frame, Watcher

__all__ = ["frames", "register"]

StorePath = Annotated[str, typer.Argument(metavar="PATH", help="The store's directory; it may appear later.")]
Interval = Annotated[float, typer.Option("--interval", metavar="SECONDS", min=0.1, help="Seconds between looks.")]
Once = Annotated[bool, typer.Option("--once", help="Look once and leave; exit code 2 if there is no store, or it is damaged.")]
Count = Annotated[int | None, typer.Option(min=1, help="Leave after so many looks.", show_default="until Ctrl-C")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line for every look and nothing else.")]

PLAIN_WIDTH = 100
"""Columns where the output is no terminal."""


def register(tools: Tools) -> None:
    """Add the command."""
    command: Callable[..., None] = top
    tools.app.command()(command)


def top(
    ctx: typer.Context,
    path: StorePath,
    interval: Interval = 2.0,
    once: Once = False,
    count: Count = None,
    as_json: Json = False,
) -> None:
    """Watch a store that another process has open: rates, memory, stalls, levels, the debt of a change of policy, last events.

    It takes no lock and changes nothing. Rates come from what the writer tells of itself (docs/format/status.md); without that
    they are what the event log saw, or absent. Ctrl-C leaves.
    """
    tools: Tools = ctx.obj
    watcher = Watcher(tools.fs, path, SystemClock(), lambda: _engine_path(tools, path))
    with guard(as_json=as_json):
        if once:
            _show_once(watcher.frame(), as_json=as_json)
            return
        _refuse_file(tools, path)
        try:
            with _terminated_as_interrupted():
                _follow(watcher, interval, count, as_json=as_json)
        except KeyboardInterrupt:
            raise typer.Exit from None


def _engine_path(tools: Tools, path: str) -> str:
    """Where the tree of the store at ``path`` is; where it will be, if there is none yet."""
    for kind in tools.stores:
        if kind.matches(tools.fs, path):
            return kind.engine_path(path)
    return path


def _refuse_file(tools: Tools, path: str) -> None:
    """A file never becomes a store: no use waiting."""
    if tools.fs.exists(path) and not tools.fs.isdir(path):
        msg = f"{path} is a file: a store is a directory"
        raise InvalidArgumentError(msg)


def _show_once(frame: Frame, *, as_json: bool) -> None:
    """One frame, for a script or a glance."""
    if frame.state == "missing":
        raise InvalidArgumentError(frame.about)
    if frame.state == "damaged":
        raise LsmError(frame.about)
    if as_json:
        _line(frame)
    else:
        _plain(_console(), frame)


def _follow(watcher: Watcher, interval_s: float, count: int | None, *, as_json: bool) -> None:
    """Frame after frame."""
    out = _console()
    if as_json:
        for frame in frames(watcher, interval_s, count, SystemClock()):
            _line(frame)
    elif not out.is_terminal:
        for frame in frames(watcher, interval_s, count, SystemClock()):
            _plain(out, frame)
            out.print()
            out.file.flush()
    else:
        with Live(console=out, screen=True, auto_refresh=False, transient=True) as live:
            for frame in frames(watcher, interval_s, count, SystemClock()):
                live.update(draw(frame, out.width, out.height, zone_s()), refresh=True)


def frames(watcher: Watcher, interval_s: float, count: int | None, clock: Clock) -> Iterator[Frame]:
    """Looks, evenly spaced; one that took longer than that is followed by the next at once."""
    due, left = clock.monotonic(), count
    while True:
        yield watcher.frame()
        if left is not None:
            left -= 1
            if not left:
                return
        now = clock.monotonic()
        due = max(due + interval_s, now)
        clock.sleep(due - now)


def _line(frame: Frame) -> None:
    """A frame for a program."""
    typer.echo(json.dumps(frame.to_dict(), separators=(",", ":")))


def _console() -> Console:
    """Standard output: as wide as the terminal, or of a fixed width where there is none."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _plain(out: Console, frame: Frame) -> None:
    """A frame that scrolls by."""
    out.print(draw(frame, out.width, None, zone_s()))


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Leave by SIGTERM as by Ctrl-C: whoever is killed must still give the terminal back."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
