"""A settled tree keeps what its policy promises, whatever was written, and whatever policy was there before."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.testing import MemoryFileSystem

from .conftest import arrive, key, open_small, runs

ratios = st.integers(2, 7)
points = st.one_of(
    ratios.map(Leveled),
    ratios.map(Tiered),
    ratios.map(LazyLeveling),
    ratios.flatmap(lambda t: st.builds(Fluid, st.just(t), K=st.integers(1, t - 1), Z=st.integers(1, t - 1))),
    st.builds(lambda t, rule: Leveled(t, partial=rule), st.integers(2, 4), st.sampled_from(["oldest", "round_robin"])),
)


def most_runs(policy, level, last):
    """What the issue says of a level >= 1, in its own words."""
    if isinstance(policy, Leveled):
        return 1
    if isinstance(policy, Tiered):
        return policy.size_ratio - 1
    if isinstance(policy, LazyLeveling):
        return 1 if level == last else policy.size_ratio - 1
    return policy.Z if level == last else policy.K


def check_settled(db, policy):
    """Runs, sizes and the level rule of a tree at rest."""
    tree = db.tree()
    assert db.pending() is None
    last = max((n for n, level in enumerate(tree.levels) if level.runs), default=0)
    assert len(tree.levels[0].runs) <= tree.level0_runs
    for number, level in enumerate(tree.levels[1:], 1):
        assert len(level.runs) <= most_runs(policy, number, last), f"level {number} of {runs(db)}"
        arrival = policy.size_ratio ** (number - 1) * tree.buffer_entries
        if getattr(policy, "partial", None) is None:
            assert level.entries <= policy.size_ratio * arrival, f"level {number} holds {level.entries} entries"
    db.check()


phases = st.lists(
    st.tuples(points, st.sampled_from(["greedy", "lazy"]), st.integers(1, 25), st.floats(0, 0.6), st.integers(20, 2000)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(phases, st.integers(1, 3), st.integers(0, 10**6))
def test_runs_sizes_and_contents_are_as_promised_after_any_work_and_any_switch(phases, level0_runs, seed):
    rng, model = random.Random(seed), {}
    with open_small(MemoryFileSystem(), policy=phases[0][0], level0_runs=level0_runs) as db:
        for policy, pace, rounds, deletes, space in phases:
            db.set_policy(policy, pace)
            for n in range(rounds):
                chosen = [key(rng.randrange(space)) for _ in range(rng.randrange(1, 60))]
                gone = [k for k in chosen if rng.random() < deletes]
                db.delete_many(gone)
                for k in gone:
                    model.pop(k, None)
                pairs = [(k, b"%d" % n * 9) for k in chosen if k not in gone]
                model.update(pairs)
                arrive(db, pairs)
            db.set_policy(policy)
            db.settle()
            check_settled(db, policy)
            assert dict(db.scan()) == model
            everything = [key(n) for n in range(0, 2000, 3)]
            assert db.get_many(everything) == [model.get(k) for k in everything]


NAMED = [
    Leveled(3),
    Tiered(4),
    LazyLeveling(4),
    Fluid(7, K=3, Z=2),
    Leveled(3, partial="oldest"),
    Leveled(2, partial="round_robin"),
]


@pytest.mark.parametrize("policy", NAMED, ids=str)
def test_overwriting_the_same_keys_for_long_keeps_the_number_of_files_bounded(policy):
    fs, keys, rng = MemoryFileSystem(), 600, random.Random(4)
    counts = []
    with open_small(fs, policy=policy) as db:
        for n in range(240):
            arrive(db, [(key(rng.randrange(keys)), b"%015d" % n) for _ in range(40)])
            files = [name for name in fs.listdir("/db") if name.endswith(".sst")]
            assert len(files) == len(db.tree().tables), "files that nobody names"
            counts.append(len(files))
        live_tables = keys * (12 + 15 + 8) / 2048
        last = len(db.tree().levels) - 1
        most = sum(most_runs(policy, level, last) for level in range(1, last + 1))
        assert max(counts) <= 1 + most + live_tables * (most_runs(policy, last, last) + 2)
        assert max(counts[120:]) <= 1.5 * max(counts[60:120])
        assert len(list(db.scan())) == keys


@pytest.mark.parametrize("switch_to", [None, Leveled(2), Tiered(3)], ids=str)
@pytest.mark.parametrize("policy", NAMED, ids=str)
def test_keys_deleted_above_all_their_versions_never_return_and_leave_nothing(policy, switch_to):
    rng = random.Random(8)
    with open_small(MemoryFileSystem(), policy=policy) as db:
        for n in range(40):
            arrive(db, [(key(rng.randrange(700)), b"%d" % n) for _ in range(50)])
        view = db.snapshot()
        seen = dict(view.scan())
        for first in range(0, 700, 50):
            db.delete_many([key(n) for n in range(first, first + 50)])
            db.flush()
            db.settle()
            assert next(iter(db.scan(stop=key(first + 50))), None) is None
        assert dict(view.scan()) == seen
        if switch_to is not None:
            db.set_policy(switch_to)
        view.close()
        db.settle()
        assert list(db.scan()) == []
        db.compact()
        db.settle()
        assert db.tree().entries == 0
        assert db.get_many([key(n) for n in range(700)]) == [None] * 700
