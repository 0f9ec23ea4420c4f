"""How near predictions came to what was measured: errors and ranks for each cost, seconds, and the shapes that would be chosen.

Targets (:data:`TARGETS`): for each cost a mean absolute relative error of at most 15 % and a rank correlation of at least 0.9.
Costs of lookups rest on false positives: rows with fewer than 1,000 of them are judged by their absolute error instead, 0.005
at most.
Seconds are fitted on every second cell and judged on the others. For each of five mixes, the tree that the model chooses should
cost at most 3 % more than the best one that was measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsmkv.lab.measures import LONG_RUN, PASSES
from lsmkv.lab.named import MIXES
from lsmkv.lab.tidy import Record
from lsmkv.lab.workload import Mix

__all__ = ["TARGETS", "Choice", "Score", "choices", "score", "seconds", "spearman"]


class Targets(NamedTuple):
    """What a validation should reach."""

    error: float = 0.15
    rank: float = 0.9
    false_positives: int = 1_000
    absolute: float = 0.005
    regret: float = 0.03


TARGETS = Targets()


class Score(NamedTuple):
    """One cost over many cells."""

    cost: str
    cells: int
    """Rows judged by their relative error."""
    error: float | None
    """Mean absolute relative error of them."""
    worst: float | None
    """The largest one."""
    rank: float | None
    """Spearman's correlation of predicted and measured."""
    small: int
    """Rows with too few false positives."""
    absolute: float | None
    """Their largest absolute error."""

    @property
    def reached(self) -> bool:
        """Whether the targets are reached."""
        right = self.error is None or self.error <= TARGETS.error
        ranked = self.rank is None or self.rank >= TARGETS.rank
        return right and ranked and (self.absolute is None or self.absolute <= TARGETS.absolute)


class Choice(NamedTuple):
    """The tree that the model chooses for a mix, beside the best one measured."""

    mix: str
    chosen: str
    chosen_blocks: float
    """Measured, per operation."""
    best: str
    best_blocks: float

    @property
    def regret(self) -> float:
        """How much more the chosen one costs."""
        return self.chosen_blocks / self.best_blocks - 1


def score(rows: Iterable[Record], phases: Sequence[str] | None = None) -> list[Score]:
    """Each cost that was predicted and measured, over all cells (of these phases; None: all trees as they were)."""
    by_cost: defaultdict[str, list[Record]] = defaultdict(list)
    for row in rows:
        of_phase = row["phase"] != LONG_RUN if phases is None else row["phase"] in phases
        if row["predicted"] is not None and row["measured"] is not None and of_phase:
            by_cost[str(row["cost"])].append(row)
    return [_score(cost, found) for cost, found in by_cost.items()]


def _score(cost: str, rows: Sequence[Record]) -> Score:
    """One cost."""
    small = [
        row for row in rows if row["false_positives"] is not None and _number(row, "false_positives") < TARGETS.false_positives
    ]
    large = [row for row in rows if row not in small]
    said, found = ([_number(row, name) for row in large] for name in ("predicted", "measured"))
    errors = [abs(a / b - 1) for a, b in zip(said, found, strict=True) if b]
    return Score(
        cost,
        len(large),
        fmean(errors) if errors else None,
        max(errors, default=None),
        spearman(said, found) if len(large) > 2 else None,
        len(small),
        max((abs(_number(row, "predicted") - _number(row, "measured")) for row in small), default=None),
    )


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Correlation of ranks, ties sharing theirs; if both sides are constant 1.0, if one is 0.0.

    >>> spearman([1, 2, 3, 4], [10, 20, 40, 30])
    0.8
    """
    x, y = _ranks(a), _ranks(b)
    if not x.std() or not y.std():
        return float(x.std() == y.std())
    return round(float(np.corrcoef(x, y)[0, 1]), 12)


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Mean ranks."""
    array = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse].astype(np.float64)


_FEATURES = {
    "absent_cpu_s": ("zero_lookup_filter_checks", "zero_lookup_blocks"),
    "present_cpu_s": ("lookup_filter_checks", "lookup_blocks"),
    "scan_cpu_s": ("scan_blocks",),
    "write_cpu_s": (PASSES,),
}
"""What the seconds of each kind of operation are made of, besides a constant."""


def seconds(rows: Iterable[Record]) -> list[Record]:
    """Processor seconds as the model predicts them: prices fitted on every second cell, told for the others.

    The features are predicted costs, so nothing of a cell that is judged goes into its prediction.
    """
    cells: defaultdict[tuple[str, ...], dict[str, Record]] = defaultdict(dict)
    for row in rows:
        cells[tuple(str(row[name]) for name in ("policy", "filters", "phase"))][str(row["cost"])] = row
    told: list[Record] = []
    for cost, features in _FEATURES.items():
        usable = [cell for cell in cells.values() if {cost, *features} <= cell.keys()]
        inputs = np.array([[1.0, *(_number(cell[name], "predicted") for name in features)] for cell in usable])
        found = np.array([_number(cell[cost], "measured") for cell in usable])
        fit = np.arange(len(usable)) % 2 == 0
        if fit.sum() <= len(features) + 1:
            continue
        scaled = inputs[fit] / found[fit, None]  # relative errors count, not absolute ones
        prices = np.linalg.lstsq(scaled, np.ones(int(fit.sum())), rcond=None)[0]
        told += [{**usable[at][cost], "predicted": float(inputs[at] @ prices)} for at in np.flatnonzero(~fit).tolist()]
    return told


def choices(rows: Iterable[Record], filters: str = "monkey") -> list[Choice]:
    """For each of the five mixes, what the model chooses among the trees measured and what that costs, in blocks.

    By the rows of the long run, of one filter allocation: the tree that :func:`lsmkv.cost.best_shape` chooses, whose predicted
    cost per operation is least on average over a cycle, beside the one whose measured cost is.
    """
    costs: dict[str, defaultdict[str, dict[str, float]]] = {"predicted": defaultdict(dict), "measured": defaultdict(dict)}
    for row in rows:
        if row["phase"] == LONG_RUN and row["filters"] == filters:
            for side, found in costs.items():
                found[str(row["policy"])][str(row["cost"])] = _number(row, side)
    if not costs["measured"]:
        return []

    def blocks(side: str, policy: str, mix: Mix) -> float:
        """Blocks of an operation of the mix."""
        at = costs[side][policy]
        parts = ((mix.absent, "zero_lookup_blocks"), (mix.present, "lookup_blocks"), (mix.scan, "scan_blocks"))
        return sum(share * at[cost] for share, cost in parts) + mix.overwrite * at["update_blocks"]

    made = []
    for name, workload in MIXES.items():
        mix = workload.phases[0].mix
        chosen, best = (min((blocks(side, policy, mix), policy) for policy in found)[1] for side, found in costs.items())
        made.append(Choice(name, chosen, blocks("measured", chosen, mix), best, blocks("measured", best, mix)))
    return made


def _number(row: Record, name: str) -> float:
    """A number of a row."""
    value = row[name]
    assert isinstance(value, int | float)
    return float(value)
