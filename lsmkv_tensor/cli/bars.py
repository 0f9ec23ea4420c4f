"""Progress on standard error, where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["pages_bar"]


@contextmanager
def pages_bar(what: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar that is told pages done, of ``total`` if that is known; none unless ``shown`` and standard error is a terminal."""
    err = Console(stderr=True)
    if not shown or not err.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("pages"), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)
