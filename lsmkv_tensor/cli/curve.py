"""Hit rate over capacity, drawn with matplotlib where it is installed (the extra ``plot``)."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.trace.rows import Row

__all__ = ["draw", "need_matplotlib"]


def need_matplotlib() -> Any:  # noqa: ANN401 - an optional package that has no types here
    """Its figures; InvalidArgumentError where it is not installed: better before a long replay than after it."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise InvalidArgumentError("drawing (--png) needs matplotlib: pip install 'lsmkv[plot]'") from error


def draw(rows: Sequence[Row], ideal: float, file: Path) -> None:
    """Write the picture; its kind follows the name (.png, .svg). InvalidArgumentError without matplotlib.

    ``ideal``: the hit rate of an endless cache. I/O: writes one file.
    """
    figures = need_matplotlib()
    curves: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        curves[row.eviction, row.admission].append((100 * row.capacity_share, row.hit_rate))
    figure = figures.Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for (eviction, admission), points in curves.items():
        name = eviction if admission == "all" else f"{eviction} + {admission}"
        axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=name)
    if not any(row.upstream_blocks for row in rows):
        axes.axhline(ideal, color="grey", linestyle=":", label="endless cache")
    axes.set_xscale("log")
    axes.set_xlabel("capacity, % of distinct blocks")
    axes.set_ylabel("hit rate")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=100, metadata={"Date": None} if file.suffix == ".svg" else None)
