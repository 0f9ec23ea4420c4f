"""The controller in a live store: answers stay right while it acts, advising touches nothing, off is as if there were none."""

from __future__ import annotations

import errno
from random import Random

import pytest

import lsmkv
from lsmkv.controller.act import merge_task, policy_at, sized, window_of
from lsmkv.controller.choose import candidates
from lsmkv.controller.journal import read_journal
from lsmkv.controller.prices import Mix, Prices
from lsmkv.errors import InvalidArgumentError, IOFailedError
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.apply import check_task
from lsmkv.testing import DictOracle, FailOp, FaultFileSystem

VALUE = b"v" * 40


def fill(db, count, seed=0):
    """Random keys, settled now and then, so that the tree has runs."""
    rng = Random(seed)
    for start in range(0, count, 50):
        db.put_many([(b"%012d" % rng.randrange(1 << 39), b"%d" % i + VALUE) for i in range(start, start + 50)])
        db.settle()


def read_a_lot(db, rounds, seed=1):
    """Scans, and the looks that an idle worker would take."""
    rng = Random(seed)
    for _ in range(rounds):
        for _ in range(300):
            next(iter(db.scan(start=b"%012d" % rng.randrange(1 << 39))), None)
        db.settle()


def runs(db):
    return sum(len(level.runs) for level in db.tree().levels)


def test_what_is_only_read_becomes_one_run_and_the_books_say_what_it_cost(open_db, memory_fs):
    with open_db(policy=Tiered(4)) as db:
        fill(db, 6_000)
        assert runs(db) > 4
        read_a_lot(db, 15)
        assert runs(db) == 1
        told = db.stats().controller
        assert told is not None
        assert told.merges >= 1
        assert told.waiting == 0
        assert told.spent_blocks <= 0.5 * told.seen_blocks
        assert told.mix["scans"] > 0.9
        assert told.look_s > 0
        db.check()
    lines = read_journal(memory_fs, "/db")
    assert [line["decision"] for line in lines if line["kind"] != "outcome"] == list(range(1, told.decisions + 1))


def test_an_outcome_says_what_was_paid_and_what_it_has_saved(open_db, memory_fs):
    with open_db(policy=Tiered(4)) as db:
        fill(db, 3_000)
        read_a_lot(db, 40)
    lines = read_journal(memory_fs, "/db")
    outcomes = [line for line in lines if line["kind"] == "outcome" and "paid_blocks" in line]
    promised = {line["decision"]: line for line in lines if line["kind"] == "merge"}
    assert outcomes
    for line in outcomes:
        assert line["paid_blocks"] == pytest.approx(promised[line["decision"]]["cost_blocks"], rel=0.2, abs=2)
        assert line["saved_blocks"] > 0


def test_who_advises_changes_nothing_in_the_tree(open_db, memory_fs):
    shapes = []
    for controller in (None, lsmkv.Adaptive(mode="advise")):
        with open_db(controller, policy=Leveled(10)) as db:
            fill(db, 4_000)
            read_a_lot(db, 6)
            fill(db, 4_000, seed=3)
            shapes.append([[run.entries for run in level.runs] for level in db.tree().levels])
            assert db.stats().policy == Leveled(10).describe()
            assert db.stats().transition is None
        if controller is None:
            assert read_journal(memory_fs, "/db") == []
            for name in memory_fs.listdir("/db"):
                memory_fs.unlink(f"/db/{name}")
    assert shapes[0] == shapes[1]
    assert any(line["kind"] == "merge" for line in read_journal(memory_fs, "/db"))
    assert {line["mode"] for line in read_journal(memory_fs, "/db") if line["kind"] != "outcome"} == {"advise"}


@pytest.mark.parametrize("controller", [None, lsmkv.Adaptive(mode="off")])
def test_off_is_as_if_there_were_none(open_db, memory_fs, controller):
    with open_db(controller, policy=Tiered(4)) as db:
        fill(db, 3_000)
        before = db.tree()
        read_a_lot(db, 5)
        assert [level.runs for level in db.tree().levels] == [level.runs for level in before.levels]
        told = db.stats().controller
        assert told is None if controller is None else (told.windows, told.decisions) == (0, 0)
    assert not [name for name in memory_fs.listdir("/db") if name.startswith("CONTROLLER")]


def test_it_can_be_turned_on_and_off_while_the_store_is_open(open_db):
    with open_db(None, policy=Tiered(4)) as db:
        fill(db, 3_000)
        many = runs(db)
        db.set_options(controller=lsmkv.Adaptive())
        read_a_lot(db, 12)
        assert runs(db) < many
        db.set_options(controller=None)
        fill(db, 3_000, seed=5)
        many = runs(db)
        read_a_lot(db, 6)
        assert runs(db) == many
        with pytest.raises(InvalidArgumentError, match="controller"):
            db.set_options(controller="yes")


def test_a_policy_that_it_cannot_steer_is_left_alone_and_told(open_db):
    for policy in (FIFO(capacity_bytes=1 << 30), Leveled(4, partial="oldest")):
        with open_db(policy=policy) as db:
            fill(db, 1_000)
            read_a_lot(db, 3)
            told = db.stats().controller
            assert told is not None
            assert told.decisions == 0
            assert ("FIFO" if isinstance(policy, FIFO) else "partial") in told.idle
            db.set_policy(Tiered(4))


def with_a_merge_that_waits(db, fs):
    """What the controller says once the merge that it wants has found the disk full."""
    fill(db, 6_000)
    fs.add(FailOp("pwritev", path="*.sst", errno=errno.ENOSPC, times=1))
    with pytest.raises(IOFailedError):
        read_a_lot(db, 15)
    told = db.stats().controller
    assert told is not None
    assert told.waiting == 1
    return told


@pytest.mark.parametrize("mode", ["advise", "off"])
def test_a_merge_that_waits_is_given_up_when_the_controller_may_not_act_any_more(open_db, memory_fs, mode):
    fs = FaultFileSystem(memory_fs)
    with open_db(fs=fs, policy=Tiered(4)) as db:
        with_a_merge_that_waits(db, fs)
        before = runs(db)
        assert db.pending() is not None
        db.set_options(controller=lsmkv.Adaptive(mode=mode))
        assert db.pending() is None
        db.settle()
        after = db.stats().controller
        assert after is not None
        assert runs(db) == before
        assert after.waiting == 0
        db.set_options(controller=lsmkv.Adaptive())
        db.settle()
        assert runs(db) == before, "what was given up does not come back"
    lines = read_journal(memory_fs, "/db")
    assert ("overtaken" in lines[-1]) == (mode == "advise")


@pytest.mark.parametrize(
    "change",
    [
        lambda db: db.set_policy(FIFO(capacity_bytes=1 << 30)),
        lambda db: db.set_options(controller=lsmkv.Adaptive(prices=Prices(merged=100.0))),
    ],
    ids=["another policy", "other prices"],
)
def test_a_merge_that_waits_is_given_up_when_it_was_decided_for_something_else(open_db, memory_fs, change):
    """All tables of a FIFO store became one: the next that it drops would have been everything."""
    fs = FaultFileSystem(memory_fs)
    with open_db(fs=fs, policy=Tiered(4)) as db:
        told, before = with_a_merge_that_waits(db, fs), runs(db)
        change(db)
        assert db.pending() is None
        db.settle()
        after = db.stats().controller
        assert after is not None
        assert (runs(db), after.waiting, after.merges) == (before, 0, told.merges)
    assert "overtaken" in read_journal(memory_fs, "/db")[-1]


class Confused:
    """A policy of somebody else, whose numbers cannot be asked."""

    @property
    def geometry(self):
        raise ZeroDivisionError

    def pick(self, shape):
        return Leveled(4).pick(shape)

    def describe(self):
        return {"name": "tests:Confused"}


def test_a_controller_that_fails_is_stopped_and_told_and_compactions_go_on(open_db):
    with open_db(policy=Confused()) as db:
        fill(db, 2_000)
        assert runs(db) < 6
        told = db.stats().controller
        assert told is not None
        assert "ZeroDivisionError" in told.idle
        assert db.stats().background_failures == 1
        db.set_policy(Tiered(4))
        db.set_options(controller=lsmkv.Adaptive(size_ratios=(4,)))
        fill(db, 2_000, seed=9)
        told = db.stats().controller
        assert told is not None
        assert told.idle == ""


def test_with_threads_answers_stay_right(tmp_path):
    rng, oracle = Random(2), {}
    with lsmkv.open(tmp_path / "db", lsmkv.Options(memtable_bytes=1 << 14, level0_runs=1, controller=lsmkv.Adaptive())) as db:
        for _ in range(60):
            pairs = [(rng.randbytes(6), rng.randbytes(20)) for _ in range(100)]
            db.put_many(pairs)
            oracle |= dict(pairs)
        for _ in range(1_000):
            next(iter(db.scan(start=rng.randbytes(2))), None)
        assert dict(db.scan()) == oracle
        db.settle()
        told = db.stats().controller
        assert told is not None
        assert told.windows > 0
        assert db.stats().last_error == ""
        db.check()


@pytest.mark.parametrize("seed", range(4))
def test_a_store_answers_as_the_oracle_while_its_controller_switches_and_merges(open_db, seed):
    """Metamorphic: the same operations with and without a controller give the same answers, and those of a dict."""
    rng, oracle = Random(seed), DictOracle()
    with open_db(policy=Leveled(10)) as db:
        for phase in range(8):
            reading = phase % 2
            for _ in range(60):
                if reading:
                    start = b"%03d" % rng.randrange(1000)
                    found = [pair for _, pair in zip(range(20), db.scan(start=start), strict=False)]
                    assert found == oracle.scan(start)[:20]
                    keys = [b"%03d" % rng.randrange(1000) for _ in range(10)]
                    assert db.get_many(keys) == oracle.get_many(keys)
                else:
                    for _ in range(12):
                        key = b"%03d" % rng.randrange(1000)
                        if rng.random() < 0.2:
                            db.delete(key)
                            oracle.delete(key)
                        else:
                            db.put(key, value := rng.randbytes(30))
                            oracle.put(key, value)
                db.step()
            db.settle()
        told = db.stats().controller
        assert told is not None
        assert told.decisions > 0
        assert list(db.scan()) == oracle.scan()
        db.check()


def test_every_point_has_a_policy_with_that_geometry():
    for ratio in (2, 4, 7, 10):
        for geometry in candidates(ratio):
            assert policy_at(geometry).geometry == geometry
    assert [policy_at(one.geometry) for one in (Leveled(4), Tiered(4), LazyLeveling(4), Fluid(7, K=2, Z=2))] == [
        Leveled(4),
        Tiered(4),
        LazyLeveling(4),
        Fluid(7, K=2, Z=2),
    ]


def test_every_group_of_neighbours_makes_a_task_that_keeps_the_level_rule(open_db):
    with open_db(None, policy=Tiered(4)) as db:
        fill(db, 5_000)
        db.put_many([(b"%012d" % i, VALUE) for i in range(100)])
        db.flush()
        shape = db.tree()
        tree = sized(shape, Tiered(4).geometry)
        ids = [run.id for _, run in tree.runs()]
        assert len(ids) > 4
        made = 0
        for first in range(len(ids)):
            for last in range(first + 1, len(ids)):
                task = merge_task(shape, ids[first : last + 1], "why not")
                if task is not None:
                    check_task(shape, task)
                    made += 1
        assert made > 5
        assert merge_task(shape, [ids[0], ids[2]], "no neighbours") is None
        assert merge_task(shape, [10**9, ids[0]], "not there") is None


def test_windows_count_every_operation_exactly(open_db):
    """Against a program that counts by itself; what memtables answer is no business of the tree's shape."""
    with open_db(None, policy=Leveled(4)) as db:
        fill(db, 2_000)
        db.flush()
        db.settle()
        stored = [key for key, _ in db.scan()]
        since, rng, told = db.stats().ledger, Random(7), Mix()
        for _ in range(40):
            here = [rng.choice(stored) for _ in range(20)]
            absent = [b"%012d-" % rng.randrange(1 << 39) for _ in range(rng.randrange(20))]
            assert None not in db.get_many(here)
            assert not any(db.get_many(absent))
            for key in here[:5]:
                assert db.get(key) is not None
            assert db.get(b"nowhere") is None
            for _ in range(3):
                next(iter(db.scan(start=here[0])), None)
            told = told.plus(Mix(len(absent) + 1, 25, 3, 0))
        db.put_many([(b"new%d" % i, VALUE) for i in range(33)])
        assert db.get(b"new7") == VALUE
        window = window_of(db.stats().ledger - since, Prices())
        assert window.done == told.plus(Mix(writes=33))
        assert db._core.ledger.operations() == window_of(db.stats().ledger, Prices()).done.total, "what windows are cut by"
        assert window.blocks > told.found
