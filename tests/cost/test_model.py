"""Predictions: against the papers on trees as the papers assume them, and at the edges where papers say nothing."""

from math import inf, nan

import pytest

from lsmkv import cost
from lsmkv.cost import closed_forms
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Task, Tiered
from lsmkv.policy.base import RunInput
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

ANY = cost.System(Leveled(size_ratio=10))


def full_tree(policy, ratio, levels, buffer=500):
    return cost.ideal_shape(policy, (ratio**levels - 1) * buffer, flush_entries=buffer, level0_runs=0)


def run(number, low, high, entries, bits=0, tombstones=0):
    return Run(number, (TableMeta(number, entries * 100, entries, tombstones, low, high, number, number, filter_bits=bits),))


@pytest.mark.parametrize("policy", [Leveled(size_ratio=5), Tiered(size_ratio=5), LazyLeveling(size_ratio=5), Fluid(5, K=2, Z=4)])
def test_on_full_levels_the_model_says_what_the_closed_forms_say(policy):
    shape = full_tree(policy, 5, 5)
    K, Z = policy.runs_at(1, 5), policy.runs_at(5, 5)
    found = cost.predict(cost.Workload(), shape, cost.System(policy))
    assert found.zero_lookup_blocks == pytest.approx(closed_forms.zero_lookup(10, 5, K, Z), rel=0.02)
    assert found.worst_lookup_blocks == pytest.approx(closed_forms.existing_lookup(10, 5, K, Z), rel=0.001)
    assert found.zero_lookup_filter_checks == pytest.approx(4 * K + Z)
    assert [level.runs for level in found.levels] == [0, K, K, K, K, Z]


def test_short_scans_cost_a_seek_a_run_and_long_ones_the_data():
    shape = full_tree(Tiered(size_ratio=4), 4, 4)
    runs = 4 * 3
    short = cost.predict(cost.Workload(scan_entries=1), shape, cost.System(Tiered(4)))
    long = cost.predict(cost.Workload(scan_entries=3_200), shape, cost.System(Tiered(4)))
    assert short.scan_blocks == pytest.approx(runs, rel=0.01)
    assert long.scan_blocks == pytest.approx(runs + 3_200 / 32, rel=0.06)  # a scan at the end finds fewer


def test_runs_that_do_not_cover_the_key_cost_nothing():
    left, right = run(1, b"a", b"g", 100), run(2, b"h", b"z", 100)
    apart = cost.predict(cost.Workload(), TreeShape((Level((right, left)),)), ANY)
    assert apart.zero_lookup_blocks == pytest.approx(1.0)
    both = run(2, b"a", b"g", 100)
    assert cost.predict(cost.Workload(), TreeShape((Level((both, left)),)), ANY).zero_lookup_blocks == pytest.approx(2.0)


def test_the_newest_run_is_asked_first():
    newer, older = run(2, b"a", b"z", 100), run(1, b"a", b"z", 300)
    found = cost.predict(cost.Workload(), TreeShape((Level((newer, older)),)), ANY)
    assert found.lookup_blocks == pytest.approx(0.25 * 1 + 0.75 * 2)
    assert found.worst_lookup_blocks == pytest.approx(2.0)


def test_memtables_answer_for_nothing():
    shape = TreeShape((Level((run(1, b"a", b"z", 300),)),))
    system = cost.System(Leveled(), memtable_entries=100)
    found = cost.predict(cost.Workload(), shape, system)
    assert (found.memtable_hits, found.lookup_blocks) == pytest.approx((0.25, 0.75))
    told = cost.predict(cost.Workload(memtable_hits=0.9), shape, system)
    assert (told.memtable_hits, told.lookup_blocks) == pytest.approx((0.9, 0.1))


def test_overwritten_keys_are_answered_by_the_newest_run_that_holds_them():
    newer, older = run(2, b"a", b"z", 100), run(1, b"a", b"z", 400)
    shape = TreeShape((Level((newer,)), Level((older,))), buffer_entries=100, level0_runs=0)
    found = cost.predict(cost.Workload(live_entries=400), shape, ANY)
    assert [level.answers for level in found.levels] == pytest.approx([0.25, 0.75])
    assert found.space_amplification == pytest.approx(500 / 400 * 1.05)
    once = cost.predict(cost.Workload(), shape, ANY)
    assert [level.answers for level in once.levels] == pytest.approx([0.2, 0.8])


def test_tombstones_are_no_live_entries():
    shape = TreeShape((Level((run(2, b"a", b"z", 100, tombstones=100), run(1, b"a", b"z", 300))),))
    found = cost.predict(cost.Workload(), shape, ANY)
    assert found.lookup_blocks == pytest.approx(2.0)
    assert found.space_amplification == pytest.approx(400 / 300 * 1.05)


def test_an_empty_tree_costs_nothing_but_the_flush():
    found = cost.predict(cost.Workload(), TreeShape(), ANY)
    assert (found.zero_lookup_blocks, found.lookup_blocks, found.scan_blocks, found.worst_lookup_blocks) == (0, 0, 0, 0)
    assert (found.update_copies, found.space_amplification) == (1.0, 1.0)
    assert found.levels[0].level == 0


def test_a_table_of_one_key_has_its_place():
    shape = TreeShape((Level((run(2, b"m", b"m", 1), run(1, b"a", b"z", 300))),))
    found = cost.predict(cost.Workload(), shape, ANY)
    assert found.lookup_blocks == pytest.approx(1.0, abs=0.01)
    assert found.zero_lookup_filter_checks == 0


def test_an_operation_is_the_mean_of_the_mix():
    shape = full_tree(Leveled(size_ratio=4), 4, 3)
    system = cost.System(Leveled(size_ratio=4), write_cost=2)
    each = [
        cost.predict(cost.Workload(*(1.0 if i == j else 0.0 for j in range(4))), shape, system).operation_blocks for i in range(4)
    ]
    found = cost.predict(cost.Workload(1, 2, 3, 4), shape, system)
    assert each == pytest.approx([found.zero_lookup_blocks, found.lookup_blocks, found.scan_blocks, found.update_blocks])
    assert found.operation_blocks == pytest.approx(sum(w * b for w, b in zip((1, 2, 3, 4), each, strict=True)) / 10)
    assert found.update_blocks == pytest.approx((2 * found.update_copies + found.update_copies - 1) / 32)


def test_fifo_writes_an_entry_once():
    policy = FIFO(capacity_bytes=10**9)
    shape = cost.ideal_shape(policy, 20_000, flush_entries=1_000)
    assert cost.predict(cost.Workload(), shape, cost.System(policy)).update_copies == 1.0
    assert sum(len(level.runs) for level in shape.levels) == 20


class MergeAll:
    """Everything into one run of level 1 at each flush."""

    def pick(self, shape):
        if not shape.levels[0].runs:
            return None
        inputs = tuple(
            RunInput(n, r.id, tuple(t.number for t in r.tables)) for n, level in enumerate(shape.levels) for r in level.runs
        )
        return Task(inputs, 1, None, "all of it")


def test_a_policy_of_ones_own_is_walked_on_paper():
    shape = cost.ideal_shape(MergeAll(), 10_000, flush_entries=1_000, level0_runs=0)
    found = cost.predict(cost.Workload(), shape, cost.System(MergeAll()))
    assert [[r.entries for r in level.runs] for level in shape.levels] == [[], [10_000]]
    assert found.update_copies == pytest.approx(1 + sum(range(2, 11)) / 10)  # the first is moved


class NeverDone:
    def pick(self, shape):
        level = next(n for n, level in enumerate(shape.levels) if level.runs)
        only = shape.levels[level].runs[0]
        return Task((RunInput(level, only.id, tuple(t.number for t in only.tables)),), 1, None, "again")


def test_a_policy_that_never_rests_is_refused():
    with pytest.raises(InvalidArgumentError, match="does not come to rest"):
        cost.ideal_shape(NeverDone(), 1_000, flush_entries=1_000)


def test_a_cost_is_json_ready():
    found = cost.predict(cost.Workload(), full_tree(Leveled(size_ratio=4), 4, 2), ANY).to_dict()
    assert list(found)[:2] == ["zero_lookup_blocks", "lookup_blocks"]
    assert found["levels"][1]["level"] == 1


BAD = [nan, inf, -1, True, "7", 1j]


@pytest.mark.parametrize("bad", [*BAD, None])
def test_meaningless_workloads_and_systems_are_refused_by_name(bad):
    for name in ("zero_lookups", "lookups", "scans", "updates", "scan_entries"):
        with pytest.raises(InvalidArgumentError, match=name):
            cost.Workload(**{name: bad})
    for name in ("block_entries", "entry_bytes", "memtable_entries", "write_cost"):
        with pytest.raises(InvalidArgumentError, match=name):
            cost.System(Leveled(), **{name: bad})
    if bad is not None:
        for name in ("live_entries", "memtable_hits"):
            with pytest.raises(InvalidArgumentError, match=name):
                cost.Workload(**{name: bad})
    for name in ("entries", "flush_entries"):
        with pytest.raises(InvalidArgumentError, match=name):
            cost.ideal_shape(Leveled(), **{"entries": 100, "flush_entries": 10, name: bad})


def test_what_cannot_be_is_refused():
    with pytest.raises(InvalidArgumentError, match="a workload does something"):
        cost.Workload(0, 0, 0, 0)
    with pytest.raises(InvalidArgumentError, match="policy must have pick"):
        cost.System("leveled")
    with pytest.raises(InvalidArgumentError, match="policy must have pick"):
        cost.System(Leveled)
    with pytest.raises(InvalidArgumentError, match="in this order"):
        cost.predict(TreeShape(), cost.Workload(), ANY)
    with pytest.raises(InvalidArgumentError, match="live_entries is 1000"):
        cost.predict(cost.Workload(live_entries=1000), TreeShape((Level((run(1, b"a", b"z", 300),)),)), ANY)
    with pytest.raises(InvalidArgumentError, match="more than 20000"):
        cost.ideal_shape(MergeAll(), 10**9, flush_entries=10)
