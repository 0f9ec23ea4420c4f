"""Hit rate over capacity, drawn with matplotlib where it is installed (the extra ``plot``)."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.trace.rows import Row

__all__ = ["curves", "draw", "need_matplotlib"]

MARKERS = "osD^vPX<>"
"""One for each curve beside its colour: they must be told apart in print, and by everybody."""


def need_matplotlib() -> Any:  # noqa: ANN401 - an optional package that has no types here
    """Its figures; InvalidArgumentError where it is not installed: better before a long replay than after it."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise InvalidArgumentError("drawing (--png) needs matplotlib: pip install 'lsmkv[plot]'") from error


def curves(rows: Sequence[Row], ideal: float) -> Any:  # noqa: ANN401 - as above
    """The figure: a curve for each policy, the best at the largest capacity first in the legend. InvalidArgumentError.

    ``ideal``: the hit rate of an endless cache; it bounds the store only where no cache upstream takes hits away. I/O: none.
    """
    figures = need_matplotlib()
    points: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        points[row.eviction, row.admission].append((100 * row.capacity_share, row.hit_rate))
    figure = figures.Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    upstream = max((row.upstream_blocks for row in rows), default=0)
    if not upstream:
        axes.axhline(ideal, color="grey", linestyle=":", label=f"endless cache ({ideal:.1%})")
    by_last = sorted(points.items(), key=lambda item: -max(item[1])[1])
    for at, ((eviction, admission), found) in enumerate(by_last):
        name = eviction if admission == "all" else f"{eviction} + {admission}"
        axes.plot(*zip(*sorted(found), strict=True), marker=MARKERS[at % len(MARKERS)], markersize=5, label=name)
    shares = sorted({100 * row.capacity_share for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(shares, labels=[f"{share:.2g} %" for share in shares])
    axes.minorticks_off()
    axes.set_xlabel("capacity, % of all distinct blocks")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_ylabel("hits, % of the blocks asked for")
    behind = f", behind a cache of {upstream:,} blocks" if upstream else ""
    axes.set_title(f"{rows[0].requests:,} requests, {rows[0].references:,} blocks{behind}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def draw(rows: Sequence[Row], ideal: float, file: Path) -> None:
    """Write the picture; its kind follows the name (.png, .svg). Errors as :func:`curves`. I/O: writes one file."""
    curves(rows, ideal).savefig(file, dpi=120, metadata={"Date": None} if file.suffix == ".svg" else None)
