"""Switches at any moment: between tasks, twice in a row, to the same policy, around power cuts, snapshots and hand-made merges.

Whatever the order, contents follow the oracle, snapshots stay as they were, and the books of a transition add up.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.policy import Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.registry import describe_policy
from lsmkv.testing import DictOracle, ManualClock, MemoryFileSystem

from .own_policy import Stacked

KEYS = 500
POLICIES = [
    Leveled(2),
    Leveled(4),
    Tiered(3),
    Tiered(5),
    LazyLeveling(3),
    LazyLeveling(4),
    Fluid(5, K=2, Z=2),
    Fluid(4, K=(3, 1), Z=3),
    Leveled(2, partial="oldest"),
    Leveled(3, partial="least_overlap"),
    Stacked(3),
]
numbers = st.integers(0, KEYS - 1)
policies = st.sampled_from(POLICIES)
paces = st.sampled_from(["greedy", "lazy"])


def key(number):
    return b"key%03d" % number


class SwitchingMachine(RuleBasedStateMachine):
    """A store with tiny buffers whose policy changes all the time, and its oracle."""

    @initialize(policy=policies, level0_runs=st.sampled_from([1, 1, 3]), age=st.sampled_from([None, None, 5.0]))
    def start(self, policy, level0_runs, age):
        self.fs, self.clock, self.oracle = MemoryFileSystem(), ManualClock(), DictOracle()
        self.level0_runs, self.age = level0_runs, age
        self.snapshots = []
        self.last = policy
        self.counter = 0
        self.open(policy)

    def open(self, policy=None):
        options = lsmkv.Options(
            fs=self.fs,
            clock=self.clock,
            rng=seeded(0),
            scheduler=ManualScheduler(),
            policy=policy,
            memtable_bytes=4096,
            table_bytes=1024,
            block_bytes=128,
            level0_runs=self.level0_runs,
            level0_stop_runs=6,
            tombstone_age_s=self.age,
        )
        self.db = lsmkv.open("/db", options)

    def report(self):
        return self.db.stats().transition

    @rule(first=numbers, count=st.integers(1, 60), step=st.integers(1, 11), rounds=st.integers(1, 8))
    def load(self, first, count, step, rounds):
        """Arrivals, as they come in numbers."""
        for _ in range(rounds):
            self.counter += 1
            pairs = [(key((first + i * step) % KEYS), b"%d" % self.counter) for i in range(count)]
            self.db.put_many(pairs)
            self.oracle.write(pairs)
            self.db.flush()
            self.oracle.sync()

    @rule(first=numbers, count=st.integers(1, 150))
    def delete(self, first, count):
        doomed = [key((first + i) % KEYS) for i in range(count)]
        self.db.delete_many(doomed)
        self.oracle.write([(k, None) for k in doomed])

    @rule(policy=policies, pace=paces)
    def switch(self, policy, pace):
        before = self.db.stats().policy
        report = self.db.set_policy(policy, pace)
        assert (report.from_policy, report.to_policy) == (before, describe_policy(policy))
        assert (report.pace, report.paid_bytes, report.paid_steps) == (pace, 0, 0)
        assert report.remaining == report.predicted
        assert report.done == (report.predicted.steps == 0)
        assert self.report() == report
        self.last = policy

    @rule(policy=policies)
    def switch_and_back(self, policy):
        """Twice quickly; what a switch to the own policy owes is what was owed before."""
        owed = self.db.set_policy(self.last).predicted
        self.db.set_policy(policy)
        assert self.db.set_policy(self.last).predicted == owed

    @rule()
    def step(self):
        before = self.report()
        task = self.db.step()
        after = self.report()
        if before is None or before.done:
            assert after == before
        elif task is None:
            assert before.pace == "lazy", "a greedy transition waits for nothing"
        else:
            assert after.paid_bytes == before.paid_bytes + task.debt
            assert after.paid_steps == before.paid_steps + bool(task.debt)

    @rule()
    def settle(self):
        self.db.settle()
        assert self.db.pending() is None
        report = self.report()
        assert report is None or report.done or report.pace == "lazy"
        if report is not None and report.done:
            assert report.remaining.steps == report.remaining.bytes == 0

    @rule(first=numbers, last=numbers)
    def compact(self, first, last):
        self.db.compact(key(first), key(last))
        self.oracle.sync()

    @rule()
    def tick(self):
        self.clock.advance(2.0)

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule()
    def snapshot(self):
        self.snapshots.append((self.db.snapshot(), self.oracle.snapshot()))

    @precondition(lambda self: self.snapshots)
    @rule(at=st.integers(0, 2))
    def release(self, at):
        self.snapshots.pop(at % len(self.snapshots))[0].close()

    @rule(policy=st.none() | policies)
    def reopen(self, policy):
        self.drop_snapshots()
        half = self.report()
        self.db.close()
        self.oracle.sync()
        self.open(policy)
        self.found(half, policy)

    @rule(seed=st.none() | st.integers(0, 1000), policy=st.none() | policies)
    def power_cut(self, seed, policy):
        self.drop_snapshots()
        half = self.report()
        self.fs = self.fs.crash(None if seed is None else seeded(seed))
        self.open(policy)
        self.oracle.crash(dict(self.db.scan()))
        self.found(half, policy)

    def found(self, half, policy):
        """Policy and books are those left behind; another policy is another transition."""
        report = self.report()
        if policy is None or policy == self.last:
            assert self.db.stats().policy == describe_policy(self.last)
            assert (report is None) == (half is None)
            if half is not None:
                same = ("from_policy", "to_policy", "pace", "predicted", "paid_bytes", "paid_steps", "done")
                assert [getattr(report, name) for name in same] == [getattr(half, name) for name in same]
        else:
            assert (report.from_policy, report.to_policy) == (describe_policy(self.last), describe_policy(policy))
            assert (report.pace, report.paid_bytes) == ("greedy", 0)
            self.last = policy

    def drop_snapshots(self):
        for snapshot, _ in self.snapshots:
            snapshot.close()
        self.snapshots.clear()

    @invariant()
    def sound(self):
        if getattr(self, "db", None) is None:
            return
        assert list(self.db.scan()) == self.oracle.scan()
        for snapshot, seen in self.snapshots:
            assert list(snapshot.scan()) == seen.scan()
            assert snapshot.get_many([key(n) for n in range(0, KEYS, 23)]) == seen.get_many(key(n) for n in range(0, KEYS, 23))
        self.db.check()

    def teardown(self):
        if getattr(self, "db", None) is None:
            return
        self.drop_snapshots()
        self.db.set_policy(Leveled(2))
        self.db.settle()
        assert self.report().done
        levels = self.db.tree().levels[1:]
        assert all(len(level.runs) <= 1 for level in levels)
        assert list(self.db.scan()) == self.oracle.scan()
        assert (
            sum(t.tombstones + t.shadowed for level in self.db.tree().levels[1:][-1:] for r in level.runs for t in r.tables) == 0
        )
        self.db.close()
        assert lsmkv.verify("/db", fs=self.fs).ok


SwitchingMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSwitching = SwitchingMachine.TestCase
