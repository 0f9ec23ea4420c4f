"""What the owner changes while the controller is thinking holds: a decision made for other options is not carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import ClassVar

import pytest

import lsmkv
from lsmkv.controller import Prices
from lsmkv.maintain.settings import change_if
from lsmkv.policy import Leveled, Tiered
from lsmkv.testing import MemoryFileSystem

ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Nosy(Prices):
    """Prices that somebody is told of whenever the controller makes some of them: in the middle of a decision."""

    tell: ClassVar[Callable[[], object]] = lambda: None

    def __post_init__(self) -> None:
        """Tell."""
        Prices.__post_init__(self)
        Nosy.tell()


@pytest.fixture
def interrupt():
    """Has something done in the middle of each decision, once asked to."""

    def begin(action: Callable[[], object]) -> None:
        Nosy.tell = staticmethod(action)

    yield begin
    Nosy.tell = staticmethod(lambda: None)


def write_and_ask(db, rounds):
    """Puts and lookups of absent keys."""
    rng = Random(5)
    for _ in range(rounds):
        db.put_many([(b"%012d" % rng.randrange(1 << 39), b"v" * 40) for _ in range(100)])
        db.contains_many([b"%012d" % -rng.randrange(1, 1 << 39) for _ in range(300)])
        db.settle()


def settled(db):
    """What the controller may change."""
    return db.stats().policy, db.set_options().memtable_bytes, db.set_options().filter_bits_per_key


def decides_at(open_db, interrupt, settings, what):
    """The thought (a number) in which the controller, left alone, decides on ``what`` for the first time."""
    with open_db(settings, policy=Tiered(4), fs=MemoryFileSystem()) as db:
        done = []
        interrupt(lambda: done.append(getattr(db.stats().controller, what)))
        write_and_ask(db, ROUNDS)
        return next(at for at, (before, after) in enumerate(pairwise(done), 1) if before < after)


@pytest.mark.parametrize("what", ["splits", "reshapes"])
@pytest.mark.parametrize("after", [None, lsmkv.Adaptive(mode="advise")])
def test_a_controller_that_is_turned_off_while_it_thinks_changes_nothing(open_db, interrupt, after, what):
    """It switched the policy, or split the memory, after ``set_options`` had returned."""
    settings = lsmkv.Adaptive(memory_bytes=160 << 10, prices=Nosy())
    last = decides_at(open_db, interrupt, settings, what)
    before, thought = None, 0
    with open_db(settings, policy=Tiered(4)) as db:

        def turn_off():
            nonlocal before, thought
            thought += 1
            if thought == last:
                before = settled(db)
                db.set_options(controller=after)

        interrupt(turn_off)
        write_and_ask(db, ROUNDS)
        assert thought >= last
        assert settled(db) == before


def test_a_memtable_that_the_owner_chooses_meanwhile_stays(open_db, interrupt):
    with open_db(lsmkv.Adaptive(memory_bytes=160 << 10, size_ratios=(4,), prices=Nosy()), policy=Leveled(4)) as db:
        write_and_ask(db, 1)
        chosen = 70_000

        def choose():
            nonlocal chosen
            chosen += 16
            db.set_options(memtable_bytes=chosen)

        interrupt(choose)
        write_and_ask(db, 20)
        assert db.set_options().memtable_bytes == chosen
        told = db.stats().controller
        assert told is not None
        assert told.splits == 0


def test_options_change_only_if_they_are_as_the_caller_thinks(open_db):
    with open_db() as db:
        core = db._core
        assert not change_if(core, lambda now: now.memtable_bytes == 1, {"memtable_bytes": 1 << 20})
        assert db.set_options().memtable_bytes == 4096
        assert change_if(core, lambda now: now.memtable_bytes == 4096, {"memtable_bytes": 1 << 20})
        assert db.set_options().memtable_bytes == 1 << 20
