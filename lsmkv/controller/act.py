"""From decisions to what the engine understands: a policy to switch to, a task to run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv.base.ledger import Account
from lsmkv.controller.prices import Mix, Prices
from lsmkv.controller.sensors import Window
from lsmkv.controller.sizes import Sized, SizeTree
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.geometry import Geometry
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.ranges import runs_in_order, whole
from lsmkv.policy.tiered import Tiered
from lsmkv.version.shape import TreeShape

__all__ = ["merge_task", "policy_at", "sized", "steered", "window_of"]


def steered(policy: Policy) -> Geometry | str:
    """The point of the continuum that a policy is, or why the controller leaves it alone."""
    geometry = getattr(policy, "geometry", None)
    if not isinstance(geometry, Geometry):
        return f"{type(policy).__name__} is no policy of the continuum (leveled, tiered, lazy, fluid)"
    if geometry.partial is not None:
        return f"the policy passes on single tables (partial={geometry.partial!r}); the controller shapes whole levels"
    return geometry


def policy_at(geometry: Geometry) -> Policy:
    """The policy of a point, by its plainest name."""
    ratio, inner, last = geometry.size_ratio, geometry.inner_runs, geometry.last_runs
    if set(inner) == {1} and last == 1:
        return Leveled(ratio)
    if set(inner) == {ratio - 1}:
        return Tiered(ratio) if last == ratio - 1 else LazyLeveling(ratio) if last == 1 else Fluid(ratio, K=ratio - 1, Z=last)
    return Fluid(ratio, K=inner if len(inner) > 1 else inner[0], Z=last)


def sized(shape: TreeShape, geometry: Geometry) -> SizeTree:
    """The tree as the controller sees it."""
    tree = SizeTree(geometry, 0.0, shape.level0_runs)
    tree.buffer = shape.buffer_entries
    tree.levels = [[Sized(float(run.entries), run.id) for run in level.runs] for level in shape.levels]
    tree.levels += [[] for _ in range(2 - len(tree.levels))]
    tree.next_id = max((run.id for _, run in runs_in_order(shape)), default=0)
    tree.patient = shape.patient
    return tree


def window_of(since: Account, prices: Prices) -> Window:
    """What an account (a difference of two) says of a window."""
    gets, scans = since.gets, since.range_reads
    done = Mix(since.absent, gets.found, since.scans, since.entries)
    blocks = gets.block_fetches + scans.block_fetches + prices.check * gets.filter_checks
    written = prices.flushed * since.flush.written_entries + prices.merged * since.merges.written_entries
    return Window(done, blocks + written)


def merge_task(shape: TreeShape, runs: Sequence[int], reason: str) -> Task | None:
    """The task that merges these runs (ids, newest first) into one; None if they are not neighbours in the tree any more.

    Runs of level 0 only move down all together, and level 0 takes no result.
    """
    placed = list(runs_in_order(shape))
    ids = [run.id for _, run in placed]
    if runs[0] not in ids or runs[-1] not in ids:
        return None
    first = ids.index(runs[0])
    group = placed[first : first + len(runs)]
    if [run.id for _, run in group] != list(runs):
        return None
    level = group[-1][0]
    if level == 0 or (group[0][0] == 0 and first > 0):
        return None
    joined = next(run.id for number, run in group if number == level)
    return Task(tuple(whole(number, run) for number, run in group), level, joined, reason, chore=True)
