"""LSM-bush and Wacky: levels that get lazier the smaller they are (Dayan, Idreos; SIGMOD 2019).

An LSM-tree has one capacity ratio; an LSM-bush lets it grow doubly exponentially towards the small levels, so that writes cost
``O(log log N)``. Parameters: T, the ratio between the two largest levels above the last; X, how the exponent grows from level to
level (X = 1: an ordinary tree); C, how much larger the last level is than all others together.

The schedule of ratios, ``r_i = T^(X^(L-i-1))``, is also in the claims of the authors' patent (US 11372823, X = 2). Numbers of
equations are not given: the text of the paper was not at hand.
"""

from __future__ import annotations

from math import log

from lsmkv.cost.checks import number, whole
from lsmkv.cost.closed_forms.symbols import LARGEST_RATIO, ratio_of
from lsmkv.errors import InvalidArgumentError

__all__ = ["bush_fprs", "bush_runs", "bush_update", "bush_zero_lookup_bits"]

MOST_BUSH_LEVELS = 12


def bush_runs(levels: int, size_ratio: float = 4, X: float = 2) -> list[int]:
    """``T^(X^(L-i-1)) - 1`` runs in level i < L, one in the last: smallest level first.

    Assumes the cap level is leveled. Valid for 1 to 12 levels while the first level has at most a million runs. X = 1 is lazy
    leveling.

    >>> bush_runs(4, size_ratio=4, X=2)
    [255, 15, 3, 1]
    >>> bush_runs(4, size_ratio=4, X=1)
    [3, 3, 3, 1]
    """
    T, growth = ratio_of(size_ratio), number("X", X, 1, 4)
    count = whole("levels", levels, 1, MOST_BUSH_LEVELS)
    runs = []
    for level in range(1, count):
        exponent = growth ** (count - level - 1)
        if exponent * log(T) > log(LARGEST_RATIO):
            raise InvalidArgumentError(f"levels: {count} with T={T:g}, X={growth:g} give level {level} over a million runs")
        runs.append(round(T**exponent) - 1)
    return [*runs, 1]


def bush_fprs(levels: int, zero_lookup: float, size_ratio: float = 4, X: float = 2, C: float = 1) -> list[float]:
    """The best rate of each level's filters for p = ``zero_lookup`` blocks per absent key in all: smallest level first.

    A run's best rate goes with its entries (Monkey's rule), so a level's share of p is its share of the data: the last level,
    C times all others together, gets ``p C/(1+C)``, and level i the rest by its capacity. Follows from Monkey's rule; the
    paper's own formula was not at hand. Valid while no rate reaches 1.

    >>> rates = bush_fprs(4, 0.10, size_ratio=4, X=2, C=1)
    >>> round(rates[-1], 4), round(sum(r * p for r, p in zip(bush_runs(4), rates)), 4)
    (0.05, 0.1)
    """
    runs, p = bush_runs(levels, size_ratio, X), number("zero_lookup", zero_lookup, above=True)
    shares = _shares(runs, C)
    rates = [p * share / count for share, count in zip(shares, runs, strict=True)]
    if max(rates) > 1:
        raise InvalidArgumentError(f"zero_lookup must be at most {p / max(rates):g} for these levels, not {zero_lookup!r}")
    return rates


def bush_zero_lookup_bits(levels: int, zero_lookup: float, size_ratio: float = 4, X: float = 2, C: float = 1) -> float:
    """Filter bits a key, over all, that :func:`bush_fprs` takes: ``sum share_i ln(1/p_i) / ln2^2``.

    >>> bush_zero_lookup_bits(4, 0.10) < bush_zero_lookup_bits(4, 0.01)
    True
    """
    runs = bush_runs(levels, size_ratio, X)
    rates = bush_fprs(levels, zero_lookup, size_ratio, X, C)
    return sum(-share * log(rate) for share, rate in zip(_shares(runs, C), rates, strict=True)) / log(2) ** 2


def bush_update(levels: int, C: float = 1) -> float:
    """Copies per entry, at most: one into each level above the last, ``1 + C`` there: what arrives meets C times itself.

    Assumes a last level that is full and stays so, everything above it merged into it at once. Levels grow with
    ``log log N``, and so does this.

    >>> bush_update(4, C=1)
    5.0
    """
    return whole("levels", levels, 1, MOST_BUSH_LEVELS) - 1 + 1 + number("C", C, above=True)


def _shares(runs: list[int], C: float) -> list[float]:
    """Each level's share of the entries of a full bush."""
    cap = number("C", C, above=True) / (1 + C) if len(runs) > 1 else 1.0
    size, sizes = 1, []
    for count in runs[:-1]:
        sizes.append(float(size * count))
        size *= count + 1
    above = sum(sizes)
    return [*((1 - cap) * n / above for n in sizes), cap]
