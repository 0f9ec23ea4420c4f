"""The classic figures, from the closed forms and the exact model: nothing is run.

- *monkey*: blocks of an absent key against filter memory, allocated optimally and uniformly (Monkey, SIGMOD 2017).
- *dostoevsky*: what writing costs against what looking up an absent key costs, each policy over the size ratios (Dostoevsky,
  SIGMOD 2018).
- *size-ratio*: the exact model over size ratios, averaged over the trees a policy keeps.
- *allocation*: the false-positive rate of each level's filters, optimal and uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lsmkv.cost.choice import judge
from lsmkv.cost.closed_forms import monkey_zero_lookup, uniform_zero_lookup
from lsmkv.cost.filters import filter_fpr
from lsmkv.cost.ideal import ideal_shape
from lsmkv.cost.model import predict
from lsmkv.cost.records import System, Workload
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.tidy import Record, Rows, digest, version
from lsmkv.policy.base import Policy
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered

__all__ = ["FIGURES", "curves"]

ENTRIES, FLUSH = 1_000_000, 1_000
KINDS: tuple[tuple[str, Callable[[int], Policy]], ...] = (("leveled", Leveled), ("lazy", LazyLeveling), ("tiered", Tiered))
RATIOS = tuple(range(2, 13))


def curves(figures: Sequence[str] | None = None, *, filter_bits_per_key: float = 10.0, seed: int = 0) -> Rows:
    """The points of the classic figures as tidy rows: ``figure``, ``line``, ``x``, ``y`` and what they are.

    ``figures``: some of :data:`FIGURES` (None: all). ``seed``: on record only; nothing is drawn by chance.

    Raises InvalidArgumentError for a figure that is not there, and for a budget that is not above 0.

    I/O: none.

    >>> rows = curves(["monkey"])
    >>> {row["line"] for row in rows} >= {"optimal, T=10", "uniform"}
    True
    """
    wanted = list(_MAKERS) if figures is None else list(figures)
    for name in wanted:
        if name not in _MAKERS:
            raise InvalidArgumentError(f"figures: there is no {name!r} (known: {', '.join(FIGURES)})")
    if not 0 < filter_bits_per_key <= 64:
        raise InvalidArgumentError(f"filter bits per key: must be above 0 and at most 64, not {filter_bits_per_key!r}")
    settings = {"filter_bits_per_key": filter_bits_per_key, "entries": ENTRIES, "flush_entries": FLUSH}
    origin = {**settings, "seed": seed, "version": version(), "config": digest(settings)}
    rows = [
        {"experiment": "curves", "figure": name, **row, **origin} for name in wanted for row in _MAKERS[name](filter_bits_per_key)
    ]
    return Rows("curves", tuple(rows))


def _point(line: str, x: float, y: float, x_name: str, y_name: str, *, log: bool = True) -> Record:
    """A point of a line."""
    return {"line": line, "x": x, "y": y, "x_name": x_name, "y_name": y_name, "log": int(log)}


def _monkey(bits: float) -> Iterator[Record]:
    """Lookups against filter memory: closed forms, leveled trees of five levels."""
    names = ("filter bits per key", "blocks per lookup of an absent key")
    levels, most = 5, max(16.0, bits)
    for step in range(1, 33):
        at = most * step / 32
        for ratio in (4, 10):
            yield _point(f"optimal, T={ratio}", at, monkey_zero_lookup(at, ratio, levels), *names)
        yield _point("uniform", at, uniform_zero_lookup(at, levels), *names)


def _dostoevsky(bits: float) -> Iterator[Record]:
    """Write against read, one line a policy: the exact model, steady overwrites."""
    for kind, ratio, costs in _judged(bits):
        names = ("blocks read and written per entry written", "blocks per lookup of an absent key")
        yield {**_point(kind, costs[3], costs[0], *names), "size_ratio": ratio}


def _size_ratio(bits: float) -> Iterator[Record]:
    """Each cost over the size ratio."""
    for kind, ratio, costs in _judged(bits):
        for name, cost in zip(("absent key", "scan", "write"), (costs[0], costs[2], costs[3]), strict=True):
            yield _point(f"{kind}: {name}", ratio, cost, "size ratio", "blocks per operation")


def _judged(bits: float) -> Iterator[tuple[str, int, tuple[float, float, float, float]]]:
    """Policy, size ratio and blocks of each kind of operation."""
    system = System(Leveled(10), entries=ENTRIES, flush_entries=FLUSH, level0_runs=1, filter_bits_per_key=bits)
    for kind, make in KINDS:
        for ratio in RATIOS:
            yield kind, ratio, judge(make(ratio), Workload(live_entries=ENTRIES), system).blocks.vector


def _allocation(bits: float) -> Iterator[Record]:
    """The rate of the filters of each level of a full tree."""
    for kind, make in KINDS:
        policy = make(10)
        shape = ideal_shape(policy, 9_999_000, flush_entries=1_000, level0_runs=0, filter_bits_per_key=bits)
        for level in predict(Workload(), shape, System(policy)).levels:
            if level.runs:
                names = ("level", "false-positive rate of a filter")
                yield _point(f"{kind}, optimal", level.level, level.false_positive_rate, *names)
                if kind == "leveled":
                    yield _point("uniform", level.level, filter_fpr(round(bits * 1_000), 1_000), *names)


_MAKERS: dict[str, Callable[[float], Iterator[Record]]] = {
    "monkey": _monkey,
    "dostoevsky": _dostoevsky,
    "size-ratio": _size_ratio,
    "allocation": _allocation,
}
FIGURES = tuple(_MAKERS)
"""Names of the figures."""
