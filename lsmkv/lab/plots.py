"""The pictures of experiments, drawn with matplotlib (extra ``plot``) into PNG files small enough to commit."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.measures import LONG_RUN

if TYPE_CHECKING:
    from lsmkv.lab.tidy import Record, Rows

__all__ = ["draw", "need_matplotlib"]

Axes: TypeAlias = Any
"""matplotlib has no types here."""

COLOURS = ("#2470b3", "#c8321d", "#2e7d42", "#b4630c", "#6f4fb8", "#857000", "#5d6573", "#b0307d", "#3d2b1f", "#4fb8a8")
DPI = 80


def need_matplotlib() -> Any:  # noqa: ANN401 - an optional package
    """Its figures. Raises InvalidArgumentError where it is not installed: better before a long experiment than after it."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise InvalidArgumentError("pictures need matplotlib: pip install 'lsmkv[plot]'") from error


def draw(rows: Rows, directory: Path) -> list[Path]:
    """The pictures of an experiment; which ones follows from its name. I/O: writes them."""
    drawers = _DRAWERS.get(rows.experiment)
    if drawers is None:
        raise InvalidArgumentError(f"there is no picture of {rows.experiment!r} (known: {', '.join(_DRAWERS)})")
    directory.mkdir(parents=True, exist_ok=True)
    return [path for drawer in drawers for path in drawer(rows, directory)]


def _figure(columns: int, rows: int, width: float = 3.6, height: float = 3.0) -> tuple[Any, list[Axes]]:
    """A figure of so many charts, and the charts in reading order."""
    figure = need_matplotlib().Figure(figsize=(width * columns, height * rows), layout="constrained")
    charts = figure.subplots(rows, columns, squeeze=False)
    return figure, [chart for line in charts for chart in line]


def _save(figure: Any, path: Path) -> Path:  # noqa: ANN401 - as above
    """Write a figure."""
    figure.savefig(path, dpi=DPI)
    return path


def _number(row: Record, name: str) -> float:
    """A number of a row."""
    value = row[name]
    assert isinstance(value, int | float)
    return float(value)


def _lines(chart: Axes, rows: Sequence[Record], x: str, y: str, by: str, **style: object) -> None:
    """A line for each value of ``by``."""
    groups: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.get(x) is not None and row.get(y) is not None:
            groups[str(row[by])].append((_number(row, x), _number(row, y)))
    for number, (name, points) in enumerate(groups.items()):
        colour = COLOURS[number % len(COLOURS)]
        chart.plot(*zip(*sorted(points), strict=True), color=colour, label=name, **style)


def _scatter(rows: Rows, directory: Path) -> list[Path]:
    """Predicted against measured, a chart for each cost."""
    told = [row for row in _whole(rows) if row.get("predicted") is not None]
    costs = list(dict.fromkeys(str(row["cost"]) for row in told))
    across = min(3, len(costs))
    figure, charts = _figure(across, -(-len(costs) // across))
    names = list(dict.fromkeys(_kind(row) for row in told))
    for chart, cost in zip(charts, costs, strict=False):
        here = [row for row in told if row["cost"] == cost]
        for number, name in enumerate(names):
            own = [row for row in here if _kind(row) == name]
            said, found = ([_number(row, column) for row in own] for column in ("predicted", "measured"))
            chart.scatter(said, found, s=14, alpha=0.7, color=COLOURS[number % len(COLOURS)], label=name, linewidths=0)
        values = [_number(row, column) for row in here for column in ("predicted", "measured")]
        ends = [min(values), max(values)]
        chart.plot(ends, ends, color="grey", linewidth=0.8)
        if ends[0] > 0 and ends[1] / ends[0] > 10:
            chart.set_xscale("log")
            chart.set_yscale("log")
        chart.set_title(cost.replace("_", " "), fontsize=10)
        chart.grid(alpha=0.25)
    for chart in charts[len(costs) :]:
        chart.axis("off")
    charts[0].legend(fontsize=7)
    charts[0].set_xlabel("predicted")
    charts[0].set_ylabel("measured")
    return [_save(figure, directory / "predicted-measured.png")]


def _whole(rows: Rows) -> list[Record]:
    """What was measured in whole phases, each cost once."""
    return [row for row in rows if row["measured"] is not None and row.get("slice", 0) == 0 and row["phase"] != LONG_RUN]


def _kind(row: Record) -> str:
    """The policy of a row without its numbers."""
    return str(row["policy"]).partition(" ")[0]


def _frontier(rows: Rows, directory: Path) -> list[Path]:
    """What writing costs against what reading costs: a point for each tree, the size ratio beside it."""
    cells: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    ratio: dict[str, str] = {}
    for row in _whole(rows):
        cells[str(row["policy"]), str(row["filters"]), str(row["phase"])][str(row["cost"])] = _number(row, "measured")
        ratio[str(row["policy"])] = str(row["size_ratio"])
    known = {cost for cell in cells.values() for cost in cell}
    reads = [name for name in ("zero_lookup_blocks", "lookup_blocks", "scan_blocks") if name in known]
    if "update_copies" not in known or not reads:
        return []
    figure, charts = _figure(len(reads), 1, 4.2, 3.6)
    kinds = list(dict.fromkeys((policy.partition(" ")[0], filters) for policy, filters, _ in cells))
    colours = dict(zip(dict.fromkeys(kind for kind, _ in kinds), COLOURS, strict=False))
    for chart, read in zip(charts, reads, strict=True):
        for kind, filters in kinds:
            points = sorted(
                (cell["update_copies"], cell[read], ratio[policy])
                for (policy, of, _), cell in cells.items()
                if (policy.partition(" ")[0], of) == (kind, filters) and {"update_copies", read} <= cell.keys()
            )
            style, colour, label = "o" if filters == "monkey" else "x", colours.get(kind, COLOURS[-1]), f"{kind}, {filters}"
            chart.plot([p[0] for p in points], [p[1] for p in points], style, markersize=4, color=colour, label=label)
            for x, y, name in points:
                chart.annotate(name, (x, y), fontsize=6, xytext=(3, 2), textcoords="offset points")
        chart.set_xlabel("copies per entry written")
        chart.set_ylabel(read.replace("_", " "))
        chart.set_yscale("log")
        chart.grid(alpha=0.25)
    charts[0].legend(fontsize=7)
    return [_save(figure, directory / "frontier.png")]


def _over_time(rows: Rows, directory: Path) -> list[Path]:
    """Costs slice by slice, a line for each policy at the middle size ratio."""
    told = [row for row in rows if row.get("slice", 0) and row["filters"] == rows[0]["filters"]]
    ratios = sorted({_number(row, "size_ratio") for row in told})
    if not ratios:
        return []
    middle = ratios[len(ratios) // 2]
    told = [row for row in told if row["size_ratio"] == middle]
    costs = list(dict.fromkeys(str(row["cost"]) for row in told))
    across = min(3, len(costs))
    figure, charts = _figure(across, -(-len(costs) // across))
    for chart, cost in zip(charts, costs, strict=False):
        _lines(chart, [row for row in told if row["cost"] == cost], "slice", "measured", "policy", linewidth=1.2)
        chart.set_title(cost.replace("_", " "), fontsize=10)
        chart.grid(alpha=0.25)
    for chart in charts[len(costs) :]:
        chart.axis("off")
    charts[0].legend(fontsize=7)
    charts[0].set_xlabel("time, in slices of the phases")
    return [_save(figure, directory / "over-time.png")]


def _curves(rows: Rows, directory: Path) -> list[Path]:
    """A picture for each classic figure."""
    made = []
    for name in dict.fromkeys(str(row["figure"]) for row in rows):
        own = [row for row in rows if row["figure"] == name]
        figure, (chart,) = _figure(1, 1, 5.2, 3.6)
        line = "" if own[0].get("size_ratio") is not None else "-"  # trees have whole levels: a line would only zigzag
        _lines(chart, own, "x", "y", "line", linestyle=line, linewidth=1.1, marker=".", markersize=5)
        for row in own:
            if row.get("size_ratio") is not None:
                chart.annotate(row["size_ratio"], (row["x"], row["y"]), fontsize=6, xytext=(2, 3), textcoords="offset points")
        chart.set_xlabel(str(own[0]["x_name"]))
        chart.set_ylabel(str(own[0]["y_name"]))
        chart.set_title(name, fontsize=10)
        if own[0]["log"]:
            chart.set_yscale("log")
        chart.grid(alpha=0.25)
        chart.legend(fontsize=7)
        made.append(_save(figure, directory / f"{name}.png"))
    return made


def _ratios(rows: Rows, directory: Path) -> list[Path]:
    """Each strategy's ratios to the best static shape, from its best sequence to its worst."""
    figure, (chart,) = _figure(1, 1, 5.2, 3.6)
    ordered: list[Record] = []
    simulated = [row for row in rows if row["where"] == "simulator"]
    for who in dict.fromkeys(str(row["who"]) for row in simulated):
        own = sorted((row for row in simulated if row["who"] == who), key=lambda row: _number(row, "ratio"))
        ordered += [{**row, "part": 100 * (at + 0.5) / len(own)} for at, row in enumerate(own)]
    _lines(chart, ordered, "part", "ratio", "who", linewidth=1.1, marker=".", markersize=4)
    chart.axhline(1, color="black", linewidth=0.6)
    chart.set_xlabel("sequences, % that are no worse")
    chart.set_ylabel("cost over the best static shape")
    chart.grid(alpha=0.25)
    chart.legend(fontsize=7)
    return [_save(figure, directory / "ratios.png")]


_DRAWERS: dict[str, tuple[Callable[[Rows, Path], list[Path]], ...]] = {
    "ablate": (_scatter, _frontier, _over_time),
    "validate": (_scatter, _frontier),
    "curves": (_curves,),
    "phases": (_ratios,),
}
"""By the name of the experiment."""
