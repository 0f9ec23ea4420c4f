"""Changing the policy of an open store: the report, the walk, the crash, the threads."""

from __future__ import annotations

import random
from errno import EIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem

LEVELED = Leveled(size_ratio=3)
POLICIES = [LEVELED, Tiered(size_ratio=4), LazyLeveling(size_ratio=3), Fluid(size_ratio=4, K=2, Z=1), Leveled(size_ratio=6)]


class _CutError(BaseException):
    """The machine stops here."""


def fill(db, rounds, seed=0, keys=4000):
    """Write and flush ``rounds`` memtables of mostly new keys, and settle after each; what was written."""
    rng = random.Random(seed)
    written = {}
    for _ in range(rounds):
        pairs = [(b"%05d" % rng.randrange(keys), b"%08d" % rng.randrange(10**8)) for _ in range(30)]
        db.put_many(pairs)
        written.update(pairs)
        db.flush()
        db.settle()
    return written


def report_of(db):
    return db.stats().transition


def runs(db):
    return [len(level.runs) for level in db.tree().levels]


def test_the_report_says_what_it_will_cost_and_greedily_exactly_that_is_paid(open_db):
    with open_db(policy=Tiered(size_ratio=4), level0_runs=1) as db:
        written = fill(db, 30, keys=10**5)
        report = db.set_policy(LEVELED)
        assert report.from_policy == Tiered(size_ratio=4).describe()
        assert report.to_policy == LEVELED.describe()
        assert report.predicted.steps > 0
        assert not report.done
        assert report_of(db) == report
        db.settle()
        end = report_of(db)
        assert end.done
        assert end.predicted == report.predicted
        assert (end.paid_blocks > 0, end.paid_steps) == (True, report.predicted.steps)
        assert abs(end.paid_bytes - report.predicted.bytes) <= 0.1 * report.predicted.bytes
        assert end.remaining.bytes == end.remaining.steps == 0
        assert max(runs(db)[1:]) == 1
        assert dict(db.scan()) == written
        db.check()


def test_what_is_left_shrinks_with_every_task(open_db):
    with open_db(policy=Tiered(size_ratio=5), level0_runs=1) as db:
        fill(db, 44, keys=10**5)
        left = [db.set_policy(Leveled(size_ratio=5)).remaining.steps]
        while db.step() is not None:
            left.append(report_of(db).remaining.steps)
        assert left[0] > 1
        assert left == sorted(left, reverse=True)
        assert left[-1] == 0


def test_a_switch_that_owes_nothing_is_done_at_once(open_db):
    with open_db(policy=LEVELED) as db:
        fill(db, 10)
        report = db.set_policy(Tiered(size_ratio=3))
        assert report.done
        assert report.predicted.bytes == 0
        assert db.stats().policy == Tiered(size_ratio=3).describe()
        assert report_of(db) == report


def test_a_lazy_switch_does_nothing_by_itself_and_ends_as_levels_fill(open_db):
    with open_db(policy=Tiered(size_ratio=4), level0_runs=1) as db:
        written = fill(db, 30, keys=10**5)
        report = db.set_policy(LEVELED, pace="lazy")
        assert report.predicted.steps > 0
        assert db.pending() is None
        before = runs(db)
        db.settle()
        assert runs(db) == before
        rounds = 0
        while not report_of(db).done:
            written.update(fill(db, 1, seed=100 + rounds, keys=10**5))
            rounds += 1
            assert rounds < 300, "the tree is never brought in line"
        assert max(runs(db)[1:]) == 1
        assert dict(db.scan()) == written


@pytest.mark.parametrize("pace", ["greedy", "lazy"])
def test_policy_pace_and_books_survive_reopening(open_db, pace):
    with open_db(policy=Tiered(size_ratio=5), level0_runs=1) as db:
        written = fill(db, 40, keys=10**5)
        db.set_policy(LEVELED, pace=pace)
        if pace == "greedy":
            db.step()
        half = report_of(db)
        assert not half.done
    with open_db(level0_runs=1) as db:
        assert db.stats().policy == LEVELED.describe()
        resumed = report_of(db)
        assert (resumed.pace, resumed.predicted, resumed.paid_bytes) == (pace, half.predicted, half.paid_bytes)
        assert (db.pending() is None) == (pace == "lazy")
        db.settle()
        assert report_of(db).done == (pace == "greedy")
        assert dict(db.scan()) == written


def test_opening_with_another_policy_is_a_switch(open_db):
    with open_db(policy=Tiered(size_ratio=5), level0_runs=1) as db:
        fill(db, 40, keys=10**5)
        assert report_of(db) is None
    with open_db(policy=LEVELED, level0_runs=1) as db:
        report = report_of(db)
        assert report.from_policy == Tiered(size_ratio=5).describe()
        assert report.predicted.steps > 0
        db.settle()
        assert report_of(db).done
    with open_db(policy=LEVELED, level0_runs=1) as db:
        assert report_of(db).predicted == report.predicted, "the same policy again is no switch"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(range(len(POLICIES))), st.sampled_from(["greedy", "lazy"]), st.integers(0, 12)), max_size=6
    ),
    st.integers(0, 10**6),
)
def test_whatever_the_switches_the_contents_are_the_same(steps, seed):
    rng = random.Random(seed)
    options = lsmkv.Options(
        fs=MemoryFileSystem(),
        scheduler=ManualScheduler(),
        memtable_bytes=4096,
        table_bytes=2048,
        block_bytes=256,
        level0_runs=1,
        level0_stop_runs=6,
    )
    model = {}
    with lsmkv.open("/db", options) as db:
        for policy, pace, rounds in steps:
            db.set_policy(POLICIES[policy], pace=pace)
            for _ in range(rounds):
                key = b"%03d" % rng.randrange(300)
                if rng.random() < 0.2:
                    doomed = [b"%03d" % k for k in range(rng.randrange(300), 300, 7)]
                    db.delete_many(doomed)
                    for k in doomed:
                        model.pop(k, None)
                pairs = [(b"%03d" % rng.randrange(300), b"%d" % rng.randrange(10**6)) for _ in range(20)]
                db.put_many([*pairs, (key, b"last")])
                model.update([*pairs, (key, b"last")])
                db.flush()
                if rng.random() < 0.7:
                    db.settle()
            assert dict(db.scan()) == model
            db.check()
        if steps:
            db.set_policy(POLICIES[steps[-1][0]])
            db.settle()
            assert report_of(db).done
            assert report_of(db).remaining.steps == 0


def switch_workload(db, log):
    """Fill a tiered tree, switch to leveled, pay, switch back lazily, go on writing."""
    rng = random.Random(11)

    def write(n):
        pairs = [(b"%03d" % rng.randrange(200), b"%d.%d" % (n, i)) for i in range(12)]
        log.append(pairs)
        db.put_many(pairs)

    for n in range(14):
        write(n)
        db.flush()
        log.append("durable")
        db.settle()
    log.append("switch")
    log.append(("policy", LEVELED.describe()))
    db.set_policy(LEVELED)
    log.append(("policy durable", LEVELED.describe()))
    db.step()
    write(20)
    db.settle()
    log.append(("policy", Tiered(size_ratio=4).describe()))
    db.set_policy(Tiered(size_ratio=4), pace="lazy")
    log.append(("policy durable", Tiered(size_ratio=4).describe()))
    for n in range(30, 34):
        write(n)
        db.flush()
        log.append("durable")
        db.settle()


def histories(log):
    """Contents after each commit, the first that may be seen after a crash, and the policies that may be found."""
    state: dict[bytes, bytes] = {}
    out, durable = [{}], 0
    policies = [Tiered(size_ratio=4).describe()]
    for item in log:
        if item == "durable":
            durable = len(out) - 1
        elif item == "switch":
            continue
        elif item[0] == "policy":
            policies.append(item[1])
        elif item[0] == "policy durable":
            policies = [item[1]]
        else:
            state.update(item)
            out.append(dict(state))
    return out[durable:], policies


def run_until(open_db, fs, stop_at):
    """Run the workload on ``fs``, cut the power before call number ``stop_at``.

    What was written, the number of the first call of the switch, and of the last of all.
    """
    calls = switch = 0
    log: list[object] = []

    def hook(op, path):
        nonlocal calls, switch
        calls += 1
        if not switch and "switch" in log:
            switch = calls
        if calls == stop_at:
            raise _CutError

    fs.on_op = hook
    try:
        db = open_db(fs=fs, policy=Tiered(size_ratio=4), memtable_bytes=1024, level0_runs=1)
        switch_workload(db, log)
        db.close()
    except _CutError:
        pass
    finally:
        fs.on_op = None
    return log, switch, calls


def test_a_power_cut_at_every_call_of_a_switch_keeps_contents_policy_and_books(open_db):
    _, switch, total = run_until(open_db, MemoryFileSystem(), -1)
    assert 0 < switch < total - 100
    rng = random.Random(3)
    for stop_at in range(switch, total + 1):
        fs = MemoryFileSystem()
        log, _, _ = run_until(open_db, fs, stop_at)
        contents, policies = histories(log)
        where = f"cut before call {stop_at}"
        with open_db(fs=fs.crash(rng.choice([None, rng])), memtable_bytes=1024, level0_runs=1) as db:
            assert dict(db.scan()) in contents, where
            assert db.stats().policy in policies, where
            report = report_of(db)
            assert report is None or report.to_policy == db.stats().policy, where
            db.set_policy(LEVELED)
            db.settle()
            db.check()
            assert report_of(db).done, where
            assert max(runs(db)[1:], default=1) <= 1, where
            assert dict(db.scan()) in contents, where


def test_policies_that_fail_or_never_rest_are_refused_and_the_old_one_stays(open_db):
    class Fails:
        def pick(self, shape):
            raise ZeroDivisionError("no")

        def describe(self):
            return {"name": "tests:Fails"}

    class Restless:
        def pick(self, shape):
            for number, level in reversed(list(enumerate(shape.levels))):
                for run in reversed(level.runs):
                    tables = tuple(t.number for t in run.tables)
                    return Task((RunInput(number, run.id, tables),), max(number, 1), run.id if number else None, "again")
            return None

        def describe(self):
            return {"name": "tests:Restless"}

    with open_db(policy=LEVELED) as db:
        fill(db, 5)
        for bad, why in [
            (Fails(), "fails"),
            (Restless(), "rest"),
            (None, "policy"),
            (Leveled, "did you mean"),
            (object(), "pick"),
        ]:
            with pytest.raises(lsmkv.InvalidArgumentError, match=why):
                db.set_policy(bad)
        with pytest.raises(lsmkv.InvalidArgumentError, match="pace"):
            db.set_policy(LEVELED, pace="soon")
        assert db.stats().policy == LEVELED.describe()
        assert report_of(db) is None


def test_a_closed_or_poisoned_store_switches_nothing(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs, [])
    db = open_db(fs=fs, policy=LEVELED)
    fill(db, 3)
    fs.add(FailOp(op="sync", path="*MANIFEST", errno=EIO, times=1))
    with pytest.raises(lsmkv.PoisonedError):
        db.set_policy(Tiered(size_ratio=4))
    with pytest.raises(lsmkv.PoisonedError):
        db.set_policy(Tiered(size_ratio=4))
    assert db.stats().policy == LEVELED.describe()
    db.close()
    with pytest.raises(lsmkv.ClosedError):
        db.set_policy(LEVELED)
    with open_db() as again:
        assert again.stats().policy in (LEVELED.describe(), Tiered(size_ratio=4).describe())
