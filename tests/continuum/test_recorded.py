"""What is recorded of a policy, custom ones above all: found again, or refused before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import lsmkv
from lsmkv.policy import Leveled, Tiered
from lsmkv.testing import ManualScheduler, MemoryFileSystem

from .conftest import key, load_new, open_small, runs


@dataclass(frozen=True)
class Idle:
    """Never merges."""

    given: object = None

    def pick(self, shape):
        return None


class Told:
    """Says of itself what it was told to."""

    def __init__(self, said):
        self.said = said

    def pick(self, shape):
        return None

    def describe(self):
        return self.said


UNRECORDABLE = [Idle({1, 2}), Idle(b"x"), Idle(np.int64(3)), Idle(float("nan")), Idle({1: 2}), Told({"name": "a:b", "x": {1}})]


@pytest.mark.parametrize("policy", UNRECORDABLE, ids=lambda p: str(getattr(p, "given", "told")))
def test_parameters_that_cannot_be_recorded_are_refused_and_the_store_stays_well(policy):
    fs = MemoryFileSystem()
    with pytest.raises(lsmkv.InvalidArgumentError, match="cannot be recorded"):
        open_small(fs, policy=policy)
    with open_small(fs, policy=Leveled(4)) as db:
        model = load_new(db, 3, 20)
        with pytest.raises(lsmkv.InvalidArgumentError, match="cannot be recorded"):
            db.set_policy(policy)
        assert db.stats().policy == Leveled(4).describe()
        db.put(b"after", b"1")
        db.flush()
    with pytest.raises(lsmkv.InvalidArgumentError, match="cannot be recorded"):
        open_small(fs, policy=policy)
    with open_small(fs) as db:
        assert dict(db.scan()) == model | {b"after": b"1"}


@pytest.mark.parametrize("given", [None, 3, "text", (1, (2, (3,))), [1, [2]], {"a": (1,)}, 1 << 70], ids=str)
def test_the_same_policy_at_reopening_is_no_switch(given):
    fs = MemoryFileSystem()
    open_small(fs, policy=Idle(given)).close()
    for policy in (Idle(given), None):
        with open_small(fs, policy=policy) as db:
            assert db.stats().transition is None
            assert db.stats().policy["name"].endswith(":Idle")


def test_a_store_whose_policy_cannot_be_imported_opens_with_another_one_and_is_switched():
    fs = MemoryFileSystem()
    with open_small(fs, policy=Told({"name": "module_that_was_deleted:Policy", "x": 1})) as db:
        model = load_new(db, 10, 20)
    with pytest.raises(lsmkv.InvalidArgumentError, match=r"module_that_was_deleted.*Options\(policy="):
        open_small(fs)
    assert lsmkv.verify("/db", fs=fs).ok
    with open_small(fs, policy=Leveled(4)) as db:
        assert db.stats().transition.from_policy == {"name": "module_that_was_deleted:Policy", "x": 1}
        db.settle()
        assert dict(db.scan()) == model
    with open_small(fs) as db:
        assert db.stats().policy == Leveled(4).describe()


def test_a_checkpoint_taken_halfway_through_a_transition_goes_on_with_it():
    fs = MemoryFileSystem()
    with open_small(fs, policy=Tiered(4)) as db:
        model = load_new(db, 2 * (4**3 - 1), 20)
        db.set_policy(Leveled(4))
        db.step()
        half = db.stats().transition
        assert not half.done
        db.checkpoint("/copy")
        db.put(key(0), b"later")
    options = lsmkv.Options(fs=fs, scheduler=ManualScheduler(), level0_runs=1, block_bytes=256)
    with lsmkv.open("/copy", options) as copy:
        found = copy.stats().transition
        assert (found.predicted, found.paid_bytes, found.remaining) == (half.predicted, half.paid_bytes, half.remaining)
        copy.settle()
        assert copy.stats().transition.paid_steps == half.predicted.steps
        assert max(runs(copy)[1:]) == 1
        assert dict(copy.scan()) == model
