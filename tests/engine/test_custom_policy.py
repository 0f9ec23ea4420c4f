"""Policies of the owner's own: twenty lines, found again by their import name, and harmless when they are wrong."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.maintain.install import install
from lsmkv.maintain.scheduler import ManualScheduler, ThreadedScheduler
from lsmkv.policy.base import RunInput, Task
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.version.edit import VersionEdit

SOURCE = '''
"""A compaction policy of somebody's own."""
from dataclasses import dataclass

from lsmkv.policy import RunInput, Task


@dataclass(frozen=True)
class Heap:
    """One level: when it has more than `most` runs, all become one."""

    most: int = 3

    def pick(self, shape):
        runs = [(n, run) for n, level in enumerate(shape.levels) for run in level.runs]
        if len(runs) <= self.most:
            return None
        inputs = tuple(RunInput(n, run.id, tuple(t.number for t in run.tables)) for n, run in runs)
        return Task(inputs, 1, None, f"{len(runs)} runs, more than {self.most}")
'''


@pytest.fixture
def heap(tmp_path, monkeypatch):
    """The module ``heap_policy``, importable."""
    (tmp_path / "heap_policy.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("heap_policy")
    sys.modules.pop("heap_policy", None)


def fill(db, rounds, per_round=30):
    for r in range(rounds):
        db.put_many((b"%04d" % ((r * 37 + i * 11) % 500), b"%d" % r) for i in range(per_round))
        db.flush()
        db.settle()


def test_twenty_lines_shape_the_tree_and_are_found_again_by_name(open_db, heap):
    with open_db(policy=heap.Heap(most=2)) as db:
        fill(db, 10)
        assert sum(len(level.runs) for level in db.tree().levels) <= 2
        assert db.stats().policy == {"name": "heap_policy:Heap", "most": 2}
        db.check()
        before = dict(db.scan())
    with open_db() as db:
        assert db.stats().policy == {"name": "heap_policy:Heap", "most": 2}
        fill(db, 5)
        assert sum(len(level.runs) for level in db.tree().levels) <= 2
        assert dict(db.scan()).keys() >= before.keys()


def test_a_switch_to_and_from_it_reports_and_ends(open_db, heap):
    with open_db(policy=lsmkv.Tiered(size_ratio=4), level0_runs=1) as db:
        fill(db, 20)
        report = db.set_policy(heap.Heap())
        assert report.to_policy["name"] == "heap_policy:Heap"
        db.settle()
        assert db.stats().transition.done
        db.set_policy(lsmkv.Leveled(size_ratio=3))
        db.settle()
        assert db.stats().transition.done
        assert max(len(level.runs) for level in db.tree().levels[1:]) == 1
        db.check()


def test_when_its_module_is_gone_opening_says_what_to_do_and_another_policy_opens_it(open_db, heap, monkeypatch):
    with open_db(policy=heap.Heap()) as db:
        fill(db, 5)
        before = dict(db.scan())
    monkeypatch.undo()
    sys.modules.pop("heap_policy", None)
    with pytest.raises(lsmkv.InvalidArgumentError, match=r"heap_policy:Heap.*Options\(policy=") as caught:
        open_db()
    assert "heap_policy" in str(caught.value)
    with open_db(policy=lsmkv.Leveled()) as db:
        assert dict(db.scan()) == before
        assert db.stats().transition.from_policy["name"] == "heap_policy:Heap"


def everything(shape):
    """All runs as inputs, newest first."""
    runs = [(n, run) for n, level in enumerate(shape.levels) for run in level.runs]
    return tuple(RunInput(n, run.id, tuple(t.number for t in run.tables)) for n, run in runs)


def newest_to_the_bottom(shape):
    return Task(everything(shape)[:1], 5, None, "over the heads of older data")


def oldest_to_the_top(shape):
    return Task(everything(shape)[-1:], 0, None, "old data above new")


def middle_dropped(shape):
    return Task(everything(shape)[1:2], 1, None, "a hole", drops=True)


def unknown_tables(shape):
    return Task((RunInput(0, 10**6, (10**6,)),), 1, None, "tables that are not there")


def same_twice(shape):
    return Task(everything(shape)[:1] * 2, 1, None, "twice")


def very_deep(shape):
    return Task(everything(shape), 10**9, None, "as deep as it goes")


def below_zero(shape):
    return Task(everything(shape), -1, None, "up through the roof")


def a_string(shape):
    return "merge something"


def a_bug(shape):
    raise KeyError("levels")


WRONG = [
    newest_to_the_bottom,
    oldest_to_the_top,
    middle_dropped,
    unknown_tables,
    same_twice,
    very_deep,
    below_zero,
    a_string,
    a_bug,
]


class Wrong:
    """Returns what it likes once armed."""

    def __init__(self, answer):
        self.answer = answer
        self.armed = False

    def pick(self, shape):
        return self.answer(shape) if self.armed and sum(len(level.runs) for level in shape.levels) > 2 else None

    def describe(self):
        return {"name": f"tests:{self.answer.__name__}"}


@pytest.mark.parametrize("answer", WRONG)
def test_an_illegal_answer_is_an_error_and_loses_nothing(open_db, memory_fs, answer):
    policy = Wrong(answer)
    model = {b"%02d" % i: b"old" for i in range(40)}
    with open_db(policy=policy, level0_runs=3) as db:
        db.put_many(model.items())
        db.compact()
        for r in range(3):
            pairs = {b"%02d" % i: b"%d" % r for i in range(r * 10, r * 10 + 15)}
            db.put_many(pairs.items())
            db.delete(b"%02d" % r)
            model.update(pairs)
            model.pop(b"%02d" % r, None)
            db.flush()
        policy.armed = True
        with pytest.raises(Exception, match=r".") as caught:
            db.step()
        assert not isinstance(caught.value, AssertionError)
        policy.armed = False
        assert dict(db.scan()) == model
        db.check()
        db.put(b"after", b"1")
        db.flush()
    with open_db(policy=lsmkv.Leveled()) as db:
        db.settle()
        assert dict(db.scan()) == model | {b"after": b"1"}
        db.check()


@pytest.mark.parametrize("answer", WRONG)
def test_the_worker_lives_tells_and_goes_on_when_the_policy_is_right_again(answer):
    policy = Wrong(answer)
    options = lsmkv.Options(
        fs=MemoryFileSystem(), policy=policy, memtable_bytes=4096, level0_runs=3, scheduler=ThreadedScheduler()
    )
    with lsmkv.open("/db", options) as db:
        db.put_many((b"%03d" % i, b"old") for i in range(40))
        db.compact()
        policy.armed = True
        for r in range(4):
            db.put_many((b"%03d" % i, b"%d" % r) for i in range(40))
            db.flush()
        with pytest.raises(Exception, match=r"."):
            for _ in range(100):
                db.step()
        policy.armed = False
        assert db.set_policy(lsmkv.Leveled(size_ratio=4)).to_policy["name"] == "leveled"
        db.settle()
        assert dict(db.scan()) == {b"%03d" % i: b"3" for i in range(40)}
        db.check()


UNRECORDABLE = {
    "debt": lambda task: replace(task, debt=np.int64(7)),
    "reason": lambda task: replace(task, reason={"runs": 3}),
    "output_level": lambda task: replace(task, output_level=np.int64(1)),
    "inputs": lambda task: replace(task, inputs=tuple(replace(one, run=np.int64(one.run)) for one in task.inputs)),
}


@pytest.mark.parametrize("field", UNRECORDABLE)
def test_a_task_that_json_cannot_hold_is_refused_and_poisons_nothing(open_db, field):
    """Bug: during a transition the edit with such a debt failed half way, and the store took no write after that."""
    policy = Wrong(lambda shape: UNRECORDABLE[field](Task(everything(shape), 1, None, "all in one")))
    policy.describe = lambda: {"name": "tests:Unrecordable"}
    with open_db(level0_runs=5) as db:
        fill(db, 3)
        db._core.transition = replace(db.set_policy(policy), done=False)
        policy.armed = True
        before, tables = dict(db.scan()), db.tree().tables
        with pytest.raises(lsmkv.InvalidArgumentError, match="task"):
            db.step()
        policy.armed = False
        assert db.tree().tables == tables
        assert dict(db.scan()) == before
        db.check()
        db.put(b"after", b"1")
        db.flush()


def test_an_edit_that_cannot_be_written_down_is_known_not_to_be_on_disk(open_db):
    with open_db() as db:
        with db._core.install_lock, pytest.raises(TypeError):
            install(db._core, VersionEdit(policy={"name": "tests:Odd", "set": {1}}))
        db.put(b"after", b"1")
        db.flush()


class Chooser:
    """Answers with a task drawn from all legal and illegal ones."""

    def __init__(self, draw):
        self.draw = draw

    def pick(self, shape):
        runs = [(n, run) for n, level in enumerate(shape.levels) for run in level.runs]
        if not runs:
            return None
        chosen = [one for one in runs if self.draw(2)] or [runs[self.draw(len(runs))]]
        inputs = tuple(
            RunInput(n, run.id, tuple(t.number for t in run.tables if self.draw(4)) or (run.tables[0].number,))
            for n, run in chosen
        )
        level = self.draw(len(shape.levels) + 2)
        joinable = shape.levels[level].runs if level < len(shape.levels) else ()
        joins = joinable[self.draw(len(joinable))].id if joinable and self.draw(2) else None
        return Task(inputs, level, joins, "drawn")

    def describe(self):
        return {"name": "tests:Chooser"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_task_whatsoever_is_refused_or_keeps_every_answer(data):
    """Drawn tasks over drawn trees: what check_task lets through must not change what is read."""
    policy = Chooser(lambda n: data.draw(st.integers(0, n - 1)))
    options = lsmkv.Options(
        fs=MemoryFileSystem(), scheduler=ManualScheduler(), memtable_bytes=1 << 16, table_bytes=1024, block_bytes=256,
        level0_runs=30, level0_stop_runs=60,
    )  # fmt: skip
    model: dict[bytes, bytes] = {}
    with lsmkv.open("/db", options) as db:
        db._core.policy = policy
        for n in range(8):
            low = data.draw(st.integers(0, 40))
            for key in range(low, low + data.draw(st.integers(1, 30))):
                name = b"%02d" % key
                if data.draw(st.integers(0, 4)) == 0:
                    db.delete(name)
                    model.pop(name, None)
                else:
                    db.put(name, b"%d" % n * 5)
                    model[name] = b"%d" % n * 5
            db.flush()
            for _ in range(3):
                try:
                    db.step()
                except lsmkv.InvalidArgumentError:
                    continue
            assert dict(db.scan()) == model
            db.check()
