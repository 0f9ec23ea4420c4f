"""Leveled, tiered, lazy leveling, fluid and back, ratios up and down, with writes, snapshots and power cuts meanwhile."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.policy import Fluid, Leveled, Tiered
from lsmkv.testing import DictOracle, MemoryFileSystem

from .conftest import CHAIN, KEYS, SMALL, arrive, key, load_new, open_small, runs

CUTS = 22
"""Power cuts for each pace (all of them were tried once)."""
CREATED = 40
"""Calls after which the store is certainly there."""


class _CutError(BaseException):
    """The machine stops here."""


class Load:
    """Writes and switches, one after the other: step ``n`` is the same whenever it is taken, so a crash can be gone on from."""

    STEPS = 90

    def __init__(self, pace):
        self.pace = pace
        self.oracle = DictOracle()
        self.switched = 0
        """How often, as far as is known."""
        self.asked = 0
        """How often it was tried."""

    def take(self, db, n):
        """One step; what it writes is known to the oracle before the store hears of it."""
        rng = random.Random(n)
        pace = self.pace if self.pace != "both" else ("greedy", "lazy")[n // 10 % 2]
        if n % 10 == 9:
            self.asked = self.switched + 1
            db.set_policy(CHAIN[self.asked % len(CHAIN)], pace)
            self.switched = self.asked
            return
        first, count = rng.randrange(KEYS), rng.randrange(10, 50)
        if rng.random() < 0.25:
            doomed = [key((first + i) % KEYS) for i in range(count)]
            self.oracle.write([(k, None) for k in doomed])
            db.delete_many(doomed)
        else:
            pairs = [(key((first + i * 7) % KEYS), b"%d.%d" % (n, i)) for i in range(count)]
            self.oracle.write(pairs)
            db.put_many(pairs)
        kind = rng.randrange(8)
        if kind < 4:
            db.flush()
            self.oracle.sync()
        elif kind == 4:
            db.sync()
            self.oracle.sync()
        if kind in (1, 2, 5):
            db.settle()
        elif kind == 3:
            db.compact(key(first), key(first + 40))
            self.oracle.sync()
        else:
            db.step()

    def run(self, db, steps):
        """Several steps."""
        for n in steps:
            self.done = n
            self.take(db, n)

    def found(self, db, where):
        """After a crash: contents, policy and books are those of some moment since what was last known durable."""
        self.oracle.crash(dict(db.scan()))
        last = max(self.switched, self.asked)
        policies = [CHAIN[at % len(CHAIN)].describe() for at in range(self.switched, last + 1)]
        assert db.stats().policy in policies, where
        self.switched += policies.index(db.stats().policy)
        report = db.stats().transition
        assert (report is None) == (self.switched == 0), where
        if report is not None:
            assert report.to_policy == db.stats().policy, where
            assert report.from_policy == CHAIN[(self.switched - 1) % len(CHAIN)].describe(), where
            assert report.paid_bytes >= 0, where
            assert report.done == (report.remaining.steps == 0), where

    def ended(self, db, where):
        """Go to the end of the chain; everything is in line then."""
        db.set_policy(CHAIN[0])
        db.settle()
        report = db.stats().transition
        assert report.done, where
        assert report.remaining.bytes == report.remaining.steps == 0, where
        assert max(runs(db)[1:], default=0) <= 1, where
        assert db.tree().levels[0].entries == 0 or len(db.tree().levels[0].runs) <= 1, where
        assert list(db.scan()) == self.oracle.scan(), where
        db.check()


def calls_of(fs, work, stop_at=None):
    """Do ``work``, the power cut before call ``stop_at``; how many calls there were."""
    count = 0

    def hook(op, path):
        nonlocal count
        count += 1
        if count == stop_at:
            fs.power_off()
            raise _CutError

    fs.on_op = hook
    try:
        work()
    except (_CutError, lsmkv.LsmError):  # the latter: closing without power
        assert stop_at is not None
        assert count >= stop_at
    finally:
        fs.on_op = None
    return count


@pytest.mark.parametrize("pace", ["greedy", "lazy", "both"])
def test_a_power_cut_at_any_call_and_another_one_while_it_recovers_lose_nothing(pace):
    """At calls spread over the whole chain, others for each pace; the second cut comes soon after the first."""

    def work(fs, load, steps):
        load.done = 0
        policy = CHAIN[0] if steps[0] == 0 else None
        with open_small(fs, policy=policy, **SMALL) as db:
            if steps[0]:
                load.found(db, "after a crash")
            load.run(db, steps)

    total = calls_of(fs := MemoryFileSystem(), lambda: work(fs, Load(pace), range(Load.STEPS)))
    rng = random.Random(pace)
    assert total > 1000
    for stop_at in range(CREATED + rng.randrange(total // CUTS), total, total // CUTS):
        fs, load, where = MemoryFileSystem(), Load(pace), f"cut before call {stop_at}"
        assert calls_of(fs, lambda: work(fs, load, range(Load.STEPS)), stop_at) == stop_at  # noqa: B023 - called at once
        fs = fs.crash(seeded(stop_at) if stop_at % 3 else None)
        at = load.done + 1
        calls_of(fs, lambda: work(fs, load, range(at, at + 3)), rng.randrange(5, 60))  # noqa: B023 - called at once
        fs = fs.crash(seeded(stop_at) if stop_at % 2 else None)
        with open_small(fs, **SMALL) as db:
            load.found(db, where)
            load.run(db, range(at + 3, at + 8))
            load.ended(db, where)
        assert lsmkv.verify("/db", fs=fs).ok, where


def owed(seed=0, policy=None):
    """A store with deep surplus runs, and what is in it."""
    fs = MemoryFileSystem()
    db = open_small(fs, policy=policy or Tiered(4))
    return fs, db, load_new(db, 2 * (4**3 - 1), 20, random.Random(seed))


@pytest.mark.parametrize("pace", ["greedy", "lazy"])
def test_a_transition_goes_on_after_reopening_and_its_report_tells_both_sums(pace):
    fs, db, model = owed()
    report = db.set_policy(Leveled(4), pace)
    assert report.predicted.steps >= 2
    if pace == "greedy":
        db.step()
        half = db.stats().transition
        assert 0 < half.paid_bytes < report.predicted.bytes
        assert half.paid_bytes + half.remaining.bytes == pytest.approx(report.predicted.bytes, rel=0.02)
    db.close()
    rounds = 0
    with open_small(fs) as db:
        assert db.stats().transition.predicted == report.predicted
        while not db.stats().transition.done:
            if pace == "greedy":
                assert db.step() is not None
            else:
                model |= load_new(db, 1, 20, first=10**6 + 20 * rounds)
            rounds += 1
            assert rounds < 400
    with open_small(fs) as db:
        end = db.stats().transition
        assert (end.done, end.predicted, end.pace) == (True, report.predicted, pace)
        if pace == "greedy":
            assert end.paid_bytes == pytest.approx(report.predicted.bytes, rel=0.02)
            assert end.paid_steps == report.predicted.steps
        assert dict(db.scan()) == model


def test_reopening_with_a_third_policy_halfway_starts_new_books_and_ends_there():
    fs, db, model = owed()
    db.set_policy(Leveled(4))
    db.step()
    db.close()
    with open_small(fs, policy=Fluid(5, K=2, Z=1)) as db:
        report = db.stats().transition
        assert (report.from_policy, report.paid_steps) == (Leveled(4).describe(), 0)
        db.settle()
        assert db.stats().transition.done
        assert runs(db)[-1] == 1
        assert dict(db.scan()) == model


def test_greedy_after_lazy_to_the_same_policy_hurries_and_lazy_after_greedy_stops():
    _, db, model = owed()
    lazy = db.set_policy(Leveled(4), "lazy")
    assert db.pending() is None
    greedy = db.set_policy(Leveled(4), "greedy")
    assert (greedy.predicted, greedy.from_policy) == (lazy.predicted, lazy.to_policy)
    assert db.pending() is not None
    db.step()
    assert not db.set_policy(Leveled(4), "lazy").done
    assert db.pending() is None
    db.set_policy(Leveled(4))
    db.settle()
    assert max(runs(db)[1:]) == 1
    assert dict(db.scan()) == model
    db.close()


def test_a_lazy_switch_with_nothing_at_level_0_still_takes_arrivals_and_makes_room():
    """The first arrival after it meets surplus runs at level 1 and goes on to levels that have surplus runs too."""
    _, db, model = owed()
    db.set_policy(Leveled(3), "lazy")
    assert runs(db)[0] == 0
    for n in range(3 * 4**3):
        model |= load_new(db, 1, 20, first=10**6 + 20 * n)
        assert runs(db)[0] <= 1
        if n % 16 == 0:
            db.check()
    assert db.stats().transition.done
    assert max(runs(db)[1:]) == 1
    assert dict(db.scan()) == model
    db.close()


@pytest.mark.parametrize("pace", ["greedy", "lazy"])
def test_all_made_one_run_by_hand_in_the_middle_of_a_transition_ends_it(pace):
    _, db, model = owed()
    db.set_policy(Leveled(4), pace)
    if pace == "greedy":
        db.step()
    db.compact()
    assert db.stats().transition.done
    assert db.stats().transition.remaining.bytes == 0
    db.settle()
    assert sum(runs(db)) == 1
    assert dict(db.scan()) == model
    db.close()


def test_snapshots_taken_before_between_and_after_switches_read_the_same_to_the_end():
    rng, oracle, views = random.Random(2), DictOracle(), []
    with open_small(MemoryFileSystem(), policy=CHAIN[0]) as db:
        for policy, pace in zip(CHAIN[1:], ["greedy", "lazy"] * 4, strict=True):
            for n in range(8):
                doomed = [key(rng.randrange(KEYS)) for _ in range(10)]
                oracle.write([(k, None) for k in doomed])
                db.delete_many(doomed)
                pairs = [(key(rng.randrange(KEYS)), b"%d" % rng.randrange(10**9)) for _ in range(30)]
                oracle.write(pairs)
                arrive(db, pairs, settle=n % 2 == 0)
            views.append((db.snapshot(), oracle.snapshot()))
            db.set_policy(policy, pace)
            db.step()
            for view, seen in views:
                assert list(view.scan()) == seen.scan()
        db.settle()
        while views:
            for view, seen in views:
                assert list(view.scan(reverse=True)) == seen.scan(reverse=True)
                assert view.get_many([key(n) for n in range(KEYS)]) == seen.get_many(key(n) for n in range(KEYS))
            views.pop(len(views) // 2)[0].close()
            db.settle()
        db.compact()
        db.settle()
        assert list(db.scan()) == oracle.scan()
        assert db.tree().entries == len(oracle.contents)


def test_predicted_and_paid_debt_stand_side_by_side_for_a_whole_chain():
    """Different keys, no writes while it is paid: the prediction is exact but for the few bytes that tables weigh."""
    with open_small(MemoryFileSystem(), policy=CHAIN[0]) as db:
        model = load_new(db, 150, 20)
        for n, (before, after) in enumerate(pairwise(CHAIN)):
            report = db.set_policy(after)
            assert report.from_policy == before.describe()
            db.settle()
            end = db.stats().transition
            assert (end.done, end.predicted, end.paid_steps) == (True, report.predicted, report.predicted.steps)
            assert end.paid_bytes == pytest.approx(report.predicted.bytes, rel=0.05)
            assert end.paid_blocks == pytest.approx(report.predicted.blocks, rel=0.1, abs=20)
            model |= load_new(db, 21, 20, first=10**6 * (n + 1))
        assert dict(db.scan()) == model
