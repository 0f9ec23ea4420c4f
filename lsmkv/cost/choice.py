"""Which shape suits a workload: each candidate's costs, averaged over the trees it keeps, weighed by the mix.

The trees are those of :mod:`lsmkv.cost.typical`, each one counted by :func:`lsmkv.cost.predict`: no closed form, no rate that was
measured. What is compared is blocks per operation, or seconds if the system has prices; with ``robust_rho``, under the worst
mix within that divergence of the expected one (:mod:`lsmkv.cost.robust`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from lsmkv.cost.checks import made_of, number, whole
from lsmkv.cost.grids import default_grid, shape_name
from lsmkv.cost.model import predict
from lsmkv.cost.records import Cost, System, Workload
from lsmkv.cost.robust import robust_cost
from lsmkv.cost.seconds import PerOperation
from lsmkv.cost.typical import MOMENTS, typical_shapes
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy

__all__ = ["Choice", "Judged", "best_shape", "judge"]

REMEMBERED = 4096
"""Candidates whose costs are kept: asking again with another mix costs microseconds."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a policy costs, averaged over the trees it keeps."""

    policy: Policy
    name: str
    blocks: PerOperation
    seconds: PerOperation | None
    """None: the system has no prices."""
    per_operation: float
    """Of the expected mix, in seconds if there are prices, else in blocks."""
    robust: float
    """The same under the worst mix within ``robust_rho``; equal for 0."""
    write_amplification: float
    space_amplification: float
    """Bytes of tables per live byte, in the largest of these trees."""

    @property
    def unit(self) -> str:
        """What ``per_operation`` and ``robust`` are in: "seconds" or "blocks"."""
        return "blocks" if self.seconds is None else "seconds"


@dataclass(frozen=True, slots=True)
class Choice:
    """What :func:`best_shape` found."""

    best: Judged
    ranking: tuple[Judged, ...]
    """All candidates within the space limit, the best first."""
    too_large: tuple[Judged, ...]
    """Those beyond it, the smallest first."""
    rho: float

    @property
    def policy(self) -> Policy:
        """The best one's policy."""
        return self.best.policy


def judge(
    policy: Policy,
    workload: Workload,
    system: System,
    *,
    robust_rho: float = 0.0,
    horizon_entries: float | None = None,
    moments: int = MOMENTS,
) -> Judged:
    """What a policy would cost under this workload; ``system.policy`` does not matter.

    ``horizon_entries``: keys written once, costs are averaged while the tree takes in so many more entries (None: as many as
    it has). Overwritten keys (``workload.live_entries``): over a cycle of the last level.

    Raises InvalidArgumentError if the system does not say how many entries there are and how many a flush has.
    """
    made_of("workload", workload, Workload)
    made_of("system", system, System)
    rho = number("robust_rho", robust_rho)
    horizon = None if horizon_entries is None else number("horizon_entries", horizon_entries)
    asked = replace(workload, zero_lookups=1.0, lookups=1.0, scans=1.0, updates=1.0)  # costs do not depend on the mix
    judged = replace(system, policy=policy)
    costs_of = _costs if _remembers(judged) else _costs.__wrapped__
    found = costs_of(asked, judged, horizon, whole("moments", moments, 1))
    blocks, seconds, write_amplification, space_amplification = found
    costs = blocks if seconds is None else seconds
    return Judged(
        policy=policy,
        name=shape_name(policy),
        blocks=blocks,
        seconds=seconds,
        per_operation=costs.mean(workload.mix),
        robust=robust_cost(costs.vector, workload.mix, rho),
        write_amplification=write_amplification,
        space_amplification=space_amplification,
    )


def best_shape(
    workload: Workload,
    system: System,
    grid: Iterable[Policy] | None = None,
    space_limit: float | None = None,
    robust_rho: float = 0.0,
    *,
    horizon_entries: float | None = None,
    moments: int = MOMENTS,
) -> Choice:
    """The cheapest shape for a workload, and how the others compare.

    ``grid``: policies to choose from (None: :func:`lsmkv.cost.default_grid`). ``space_limit``: most bytes of tables per live
    byte (None: no limit). ``robust_rho``: choose for the worst mix within this Kullback-Leibler divergence, in nats; 0 trusts
    the workload, 0.25 to 1 is Endure's advice for one that drifts. The rest as for :func:`judge`. Of equals the first wins.
    Needs ``system.flush_entries``, and ``system.entries`` or ``workload.live_entries``.

    Raises InvalidArgumentError for an empty grid, and if no candidate keeps to the space limit: the message has the smallest.

    >>> from lsmkv.policy import Leveled
    >>> system = System(Leveled(10), entries=1_000_000, flush_entries=1_000)
    >>> best_shape(Workload(0, 0, 1, 1), system).best.name
    'leveled T=7'
    >>> best_shape(Workload(1, 0, 0, 50), system).best.name
    'tiered T=8'
    """
    candidates = default_grid() if grid is None else tuple(grid)
    if not candidates:
        raise InvalidArgumentError("grid is empty: at least one policy is needed to choose from")
    limit = None if space_limit is None else number("space_limit", space_limit, 1)
    judged = [
        judge(policy, workload, system, robust_rho=robust_rho, horizon_entries=horizon_entries, moments=moments)
        for policy in candidates
    ]
    within = [one for one in judged if limit is None or one.space_amplification <= limit]
    beyond = sorted((one for one in judged if one not in within), key=lambda one: one.space_amplification)
    if not within:
        least = beyond[0]
        raise InvalidArgumentError(
            f"space_limit {limit:g} is below what any shape needs: {least.name} {least.space_amplification:.3g}"
        )
    ranking = tuple(sorted(within, key=lambda one: one.robust))
    return Choice(ranking[0], ranking, tuple(beyond), float(robust_rho))


def _remembers(system: System) -> bool:
    """Whether costs of this system can be kept: a policy of somebody else need not be hashable."""
    try:
        hash(system)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=REMEMBERED)
def _costs(
    workload: Workload, system: System, horizon: float | None, moments: int
) -> tuple[PerOperation, PerOperation | None, float, float]:
    """Blocks and seconds of each operation, write and space amplification: means over time, of space the most."""
    shapes = typical_shapes(system.policy, workload, system, horizon, moments)
    costs = [predict(workload, shape, system) for shape in shapes]
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    return (
        _mean([_blocks(cost) for cost in costs]),
        _mean(seconds) if seconds else None,
        sum(cost.write_amplification for cost in costs) / len(costs),
        max(cost.space_amplification for cost in costs),
    )


def _blocks(cost: Cost) -> PerOperation:
    """A prediction's blocks."""
    return PerOperation(cost.zero_lookup_blocks, cost.lookup_blocks, cost.scan_blocks, cost.update_blocks)


def _mean(costs: list[PerOperation]) -> PerOperation:
    """The mean of costs, kind by kind."""
    return PerOperation(*(sum(column) / len(costs) for column in zip(*(cost.vector for cost in costs), strict=True)))
