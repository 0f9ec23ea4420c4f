"""A trial: sequences drawn from a seed, played by all static shapes and all strategies, as tidy numbers.

The seed of the published trial is the SHA-256 of ``lsmkv/controller/constants.py``: nobody can tune the controller on the
sequences that it is judged by, for tuning changes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.resources import files
from statistics import mean

from lsmkv.controller import Adaptive, Prices
from lsmkv.lab.phases.play import Strategy, loaded, play
from lsmkv.lab.phases.rivals import LEVELING, LevelRent, NeighbourRent, Switching, oracle, shape_name, static_runs
from lsmkv.lab.phases.sequences import Sequence, draw_sequence
from lsmkv.lab.phases.strategies import Controlled
from lsmkv.policy.geometry import Geometry

__all__ = ["AIM", "MUST", "STRATEGIES", "Outcome", "Spread", "constants_seed", "spread", "trial", "try_sequence"]

STRATEGIES = ("default", "neighbours", "levels", "round trip", "one way", "oracle", "leveling at 10")
"""Who is compared with the best static shape in hindsight."""

MUST, AIM = (1.06, 1.15, 1.5), (1.03, 1.10, 1.25)
"""Mean, 90th percentile and maximum that the default's ratio has to keep."""

LAZY = Geometry(7, (6,), 6)
"""The shape under the two plain rules of rent or buy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sequence; ratios are costs over that of the best static shape in hindsight, transitions included."""

    number: int
    arrivals: int
    overwrites: bool
    ticks: int
    phases: str
    best: str
    """The best static shape in hindsight."""
    worst: float
    """The ratio of the worst one."""
    ratios: dict[str, float]
    merges: int
    """That the default's reads paid for."""
    reshapes: int
    size_ratios: int
    """How often the default changed the size ratio."""
    transition_share: float
    """Of all I/O, what the default's decisions took by their predictions."""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Spread:
    """Ratios over all sequences."""

    mean: float
    p90: float
    most: float

    def keeps(self, limits: tuple[float, float, float]) -> bool:
        """Whether none is above its limit."""
        return all(found <= limit for found, limit in zip((self.mean, self.p90, self.most), limits, strict=True))


def constants_seed() -> str:
    """The SHA-256 of the controller's constants, in hexadecimal. I/O: reads a file of the package."""
    return sha256(files("lsmkv.controller").joinpath("constants.py").read_bytes()).hexdigest()


def spread(ratios: Many[float]) -> Spread:
    """Mean, 90th percentile (the smallest ratio that nine of ten do not exceed) and maximum."""
    ordered = sorted(ratios)
    return Spread(mean(ordered), ordered[max(0, -(-9 * len(ordered) // 10) - 1)], ordered[-1])


def trial(seed: str, count: int) -> Iterator[Outcome]:
    """The outcomes of so many sequences, one by one. About two seconds each."""
    for number in range(count):
        yield try_sequence(draw_sequence(seed, number))


def try_sequence(sequence: Sequence, prices: Prices | None = None) -> Outcome:
    """One sequence by everybody."""
    prices = Prices() if prices is None else prices
    static = static_runs(sequence, prices)
    best = min(static, key=lambda one: static[one])
    lowest, default = static[best], Controlled(Adaptive(prices=prices))

    def run(strategy: Strategy, geometry: Geometry | None = None) -> float:
        """A strategy, from the tree of leveling at 10 on; a ``geometry`` is taken at once, lazily."""
        tree = loaded(LEVELING, sequence)
        if geometry is not None:
            tree.switch(geometry, patient=True)
        return play(sequence, tree, prices, strategy).total

    costs = {
        "default": run(default),
        "neighbours": run(NeighbourRent(prices), LAZY),
        "levels": run(LevelRent(prices), LAZY),
        "round trip": run(Switching(prices, round_trip=True)),
        "one way": run(Switching(prices, round_trip=False)),
        "oracle": min(lowest, oracle(sequence, prices)),
        "leveling at 10": static[LEVELING],
    }
    return Outcome(
        number=sequence.number,
        arrivals=sequence.arrivals,
        overwrites=sequence.overwrites,
        ticks=sequence.ticks,
        phases=", ".join(f"{phase.kind} {phase.ticks}" for phase in sequence.phases),
        best=shape_name(best),
        worst=round(max(static.values()) / lowest, 4),
        ratios={name: round(costs[name] / lowest, 4) for name in STRATEGIES},
        merges=default.merges,
        reshapes=default.reshapes,
        size_ratios=default.ratios,
        transition_share=round(default.books.spent / default.books.blocks, 4),
    )
