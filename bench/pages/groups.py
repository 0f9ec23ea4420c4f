"""The groups of the pages suite; each can be run alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.pages.large import run_large
from bench.pages.opening import run_opening
from bench.pages.reclaiming import run_reclaiming
from bench.pages.scale import FULL, QUICK
from bench.pages.spans import run_spans
from bench.pages.suite import run_pages
from bench.session import Session

__all__ = ["PAGE_GROUPS", "PageGroup"]


@dataclass(frozen=True, slots=True)
class PageGroup:
    """A part of the suite with a table of its own."""

    what: str
    """What it covers, for --help."""
    minutes: int
    """What it takes, about, on an idle machine with 2 cores."""
    run: Callable[[Session], None]


def _scale(session: Session) -> None:
    run_large(session)
    run_reclaiming(session)


PAGE_GROUPS: dict[str, PageGroup] = {
    "core": PageGroup(
        "put, cold and warm get, delete at 64 KiB to 2 MiB, and probes; the targets are about these",
        8,
        lambda session: run_pages(session, QUICK if session.request.quick else FULL),
    ),
    "spans": PageGroup("128 pages of 2 and of 160 spans", 2, run_spans),
    "open": PageGroup(
        "restart to first hit: 1M pages, 1,000 sparse segments; after a close and after a kill; memory a page", 8, run_opening
    ),
    "scale": PageGroup("get p99 with 100k over 10k pages of 64 KiB, and while segments are reclaimed", 4, _scale),
}
