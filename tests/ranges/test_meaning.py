"""What a range delete removes, what it leaves, and for whom."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.errors import InvalidArgumentError
from tests.ranges.conftest import KEYS


def alive(view):
    found = [key for key, _ in view.scan()]
    assert [key for key, _ in view.scan(reverse=True)] == found[::-1]
    assert [key for key, value in zip(KEYS, view.get_many(KEYS), strict=True) if value is not None] == found
    assert [key for key in KEYS if view.get(key) is not None] == found
    assert [key for key, there in zip(KEYS, view.contains_many(KEYS), strict=True) if there] == found
    return found


@pytest.mark.parametrize("points", [0, 256])
@pytest.mark.parametrize(
    ("start", "stop", "low", "high"),
    [
        (b"050", b"150", 50, 150),
        (None, b"003", 0, 3),
        (b"190", None, 190, 200),
        (None, None, 0, 200),
        (b"", b"\xff", 0, 200),
        (b"0505", b"0515", 51, 52),
        (b"x", b"y", 0, 0),
    ],
)
def test_it_removes_the_keys_from_start_up_to_and_without_stop(filled, points, start, stop, low, high):
    db = filled(range_delete_keys=points)
    before = db.snapshot()
    db.delete_range(start, stop)
    assert alive(db) == KEYS[:low] + KEYS[high:]
    assert alive(before) == KEYS
    for shake in (db.flush, db.settle, db.compact):
        shake()
        assert alive(db) == KEYS[:low] + KEYS[high:]
        assert alive(before) == KEYS


@pytest.mark.parametrize(("start", "stop"), [(b"b", b"a"), (b"a", b"a"), (None, b""), (b"", b"")])
def test_an_empty_range_is_refused(open_db, start, stop):
    db = open_db()
    with pytest.raises(InvalidArgumentError, match="start must be below stop"):
        db.delete_range(start, stop)
    batch = lsmkv.WriteBatch()
    with pytest.raises(InvalidArgumentError, match="start must be below stop"):
        batch.delete_range(start, stop)
    assert len(batch) == 0


@pytest.mark.parametrize("bounds", [("a", b"b"), (b"a", 3), (b"a", bytes(70_000))])
def test_bounds_that_are_no_keys_are_refused(open_db, bounds):
    with pytest.raises(InvalidArgumentError):
        open_db().delete_range(*bounds)


@pytest.mark.parametrize("points", [0, 256])
def test_what_is_written_later_stays(filled, points):
    db = filled(range_delete_keys=points)
    db.delete_range(b"010", b"190")
    db.put(b"100", b"new")
    expected = [*KEYS[:10], b"100", *KEYS[190:]]
    assert alive(db) == expected
    db.flush()
    assert alive(db) == expected
    db.compact()
    assert alive(db) == expected
    assert db.get(b"100") == b"new"


@pytest.mark.parametrize("points", [0, 256])
def test_in_a_batch_it_has_its_place_in_the_order(filled, points):
    db = filled(range_delete_keys=points)
    with db.batch() as batch:
        batch.put(b"060", b"early").put(b"005", b"outside").delete_range(b"050", None).put(b"070", b"late")
        batch.delete_range(b"069", b"0695").put(b"199", b"later").delete(b"001")
        assert len(batch) == 7
    assert db.stats().last_seq >= 207
    assert alive(db) == [KEYS[0], *KEYS[2:50], b"070", b"199"]
    assert db.get_many([b"005", b"070", b"199"]) == [b"outside", b"late", b"later"]
    db.close()


def test_a_batch_may_be_cleared_and_written_again(filled):
    db = filled()
    batch = lsmkv.WriteBatch().put(b"x", b"1").delete_range(b"000", b"100")
    db.write(batch)
    db.put(b"050", b"back")
    db.write(batch)
    assert [key for key, _ in db.scan()] == [*KEYS[100:], b"x"]
    batch.clear()
    assert (len(batch), batch.nbytes, batch.ranges) == (0, 0, [])
    db.write(batch.put(b"y", b"2"))
    assert db.get(b"y") == b"2"


def test_readers_between_two_range_deletes_see_what_was_there_between(filled):
    db = filled()
    first = db.snapshot()
    db.delete_range(b"000", b"100")
    db.put(b"050", b"between")
    second = db.snapshot()
    db.delete_range(b"050", b"150")
    db.put(b"120", b"after")
    for shake in (db.flush, db.settle, db.compact):
        assert alive(first) == KEYS
        assert alive(second) == [b"050", *KEYS[100:]]
        assert alive(db) == [b"120", *KEYS[150:]]
        shake()
    first.close()
    db.compact()
    assert alive(second) == [b"050", *KEYS[100:]]
    second.close()
    db.settle()
    assert alive(db) == [b"120", *KEYS[150:]]
    assert db.stats().range_deletes == 0


def test_a_scan_under_way_does_not_notice(filled):
    db = filled()
    scan = db.scan()
    got = [next(scan)[0]]
    db.delete_range(None, None)
    db.flush()
    db.settle()
    got += [key for key, _ in scan]
    assert got == KEYS


def test_tombstones_of_a_range_do_not_bring_older_values_back(filled):
    """A range delete over a newer and an older version of a key: the newer is dropped at once, the older is below."""
    db = filled()
    db.put_many([(key, b"newer") for key in KEYS[::2]])
    db.delete(b"051")
    db.flush()
    db.delete_range(b"040", b"060")
    db.flush()
    while db.step() is not None:
        assert alive(db) == KEYS[:40] + KEYS[60:]
    assert alive(db) == KEYS[:40] + KEYS[60:]
