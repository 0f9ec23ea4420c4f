"""Progress on standard error, where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

__all__ = ["bytes_bar", "pages_bar"]


@contextmanager
def pages_bar(what: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar that is told pages done, of ``total`` if that is known; none unless ``shown`` and standard error is a terminal."""
    with _bar(what, total, (MofNCompleteColumn(), TextColumn("pages")), shown=shown) as advance:
        yield advance


@contextmanager
def bytes_bar(what: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """As :func:`pages_bar`, told bytes."""
    with _bar(what, total, (DownloadColumn(), TransferSpeedColumn()), shown=shown) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int | None, told: Sequence[ProgressColumn], *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar with columns that tell how much is done."""
    err = Console(stderr=True)
    if not shown or not err.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), *told, TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)
