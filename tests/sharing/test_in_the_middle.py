"""The writer does anything between any two file-system calls of a reader: no wrong byte, and nothing missing that stays there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sharing.conftest import Stage, Witness, key, keys, page, read

KEPT = range(6)
"""Pages that are there throughout, though they are moved."""


def collect(stage: Stage) -> None:
    """Move what is kept to other segments."""
    ids = range(1000, 1004)
    stage.put(ids)
    stage.delete(ids)
    with stage.aside(False):
        stage.writer._log.space.seal()
        stage.writer.gc(max_live=0.9)


def replace(stage: Stage) -> None:
    """Pages come and go until segments are recycled."""
    ids = range(1000, 1006)
    stage.put(ids)
    stage.delete(ids)


def merge(stage: Stage) -> None:
    with stage.aside(False):
        stage.writer._db.flush()
        stage.writer._db.compact()


def reopen(stage: Stage) -> None:
    stage.end()
    stage.begin()


def die(stage: Stage) -> None:
    stage.die()
    stage.begin()


DEEDS = [collect, replace, merge, reopen, die]


def read_with_deed(deed: Callable[[Stage], None], before: int, refresh_s: float, *, warm: bool) -> bool:
    """Read what is kept; the deed is done after so many calls of the reader. Whether there were as many."""
    stage = Stage()
    stage.begin()
    stage.put(KEPT)
    witness = Witness(stage, refresh_s=refresh_s)
    if warm:
        read(witness.namespace, KEPT)
    done = False

    def wait(left: int) -> Callable[[], object]:
        def work() -> object:
            nonlocal done
            if left:
                return wait(left - 1)
            done = True
            deed(stage)
            return None

        return work

    stage.meanwhile = wait(before)
    got = read(witness.namespace, KEPT)
    stage.meanwhile = None
    assert got == {i: page(i) for i in KEPT}
    assert read(witness.namespace, KEPT) == got
    witness.check_calm()
    stage.close()
    return done


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("refresh_s", [0.0, 1e9])
@pytest.mark.parametrize("warm", [False, True])
def test_whatever_happens_between_two_calls_of_a_reader(deed: Callable[[Stage], None], refresh_s: float, warm: bool) -> None:
    before = 0
    while read_with_deed(deed, before, refresh_s, warm=warm):
        before += 1
    assert before > 0


def test_a_writer_that_never_stops_moving_things_costs_no_more_than_misses(stage: Stage) -> None:
    stage.begin()
    stage.put(KEPT)
    witness = Witness(stage)

    def again() -> Callable[[], object]:
        collect(stage)
        return again

    for _ in range(5):
        stage.meanwhile = again
        got = read(witness.namespace, KEPT)
        stage.meanwhile = None
        assert all(data == page(i) for i, data in got.items())
    witness.look()
    witness.check_calm()


def test_a_page_replaced_while_it_is_read_is_delivered_whole(stage: Stage) -> None:
    """Its key has other bytes by the time it is read: old or new, never a mixture."""
    stage.begin()
    stage.put([1], salt=0)
    witness = Witness(stage)
    salt = 0

    def again() -> Callable[[], object]:
        nonlocal salt
        salt += 1
        stage.delete([1])
        stage.put([1], salt)
        return again

    for _ in range(20):
        stage.meanwhile = again
        got = read(witness.namespace, [1])
        stage.meanwhile = None
        if got:
            assert got[1] in {page(1, s) for s in range(max(salt - 40, 0), salt + 1)}
    assert witness.namespace.contains([key(1)]).all()
    assert read(witness.namespace, [1]) == {1: page(1, salt)}
    assert not witness.namespace.contains(keys([2])).any()
