"""What a member uses of its siblings' pages they hear of, so that it is not evicted as if nobody used it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.retention.touches import ASK, READ
from lsmkv_tensor.sharing.touches import SLOTS, TouchBook, TouchNote, TouchReader
from tests.sharing.conftest import FIELDS, PAGE, ROOT, Root, key, keys, put, read

NOTES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**64 - 1), st.integers(1, 700)), min_size=1, max_size=30)


def note(number: int, kind: int, thread: int, n: int) -> TouchNote:
    return TouchNote(kind, thread, bytes([number]) * 16, [key(number * 1000 + i) for i in range(n)])


def book_and_reader() -> tuple[MemoryFileSystem, TouchBook, TouchReader]:
    fs = MemoryFileSystem()
    fs.mkdir("/a")
    return fs, TouchBook(fs, "/a/TOUCHES"), TouchReader(fs, "/a/TOUCHES")


@given(NOTES, st.sets(st.integers(0, 29)))
@settings(max_examples=60, deadline=None)
def test_what_is_noted_is_heard_in_order_unless_the_ring_went_round(written, looks: set[int]) -> None:
    _, book, reader = book_and_reader()
    book.note(note(255, READ, 1, 1))
    assert reader.news() == [], "what was noted before it listened is not news"
    waiting: list[TouchNote] = []
    for at, (kind, thread, n) in enumerate(written):
        waiting.append(note(at, kind, thread, n))
        book.note(waiting[-1])
        if at in looks:
            fitting, room = [], SLOTS
            for one in reversed(waiting):
                room -= 1 + len(one.keys)
                if room < 0:
                    break
                fitting.insert(0, one)
            assert reader.news() == fitting
            waiting = []


def test_a_ring_goes_on_where_the_last_process_ended() -> None:
    fs, book, reader = book_and_reader()
    book.note(note(1, ASK, 1, 3))
    reader.news()
    book.close()
    again = TouchBook(fs, "/a/TOUCHES")
    again.note(note(2, READ, 2, 2))
    assert reader.news() == [note(2, READ, 2, 2)]
    assert reader.news() == []


def test_a_call_that_was_left_writes_nothing_after_the_close() -> None:
    """It opened the ring again, of a directory that may be another process's by then."""
    _, book, reader = book_and_reader()
    book.note(note(1, ASK, 1, 3))
    reader.news()
    book.close()
    book.note(note(2, READ, 2, 2))
    assert reader.news() == []


@pytest.mark.parametrize("damage", [b"", b"x" * 64, b"LSMKVTCH" + b"\xff" * 56, bytes(64)])
def test_a_ring_that_is_none_says_nothing(damage: bytes) -> None:
    fs, book, reader = book_and_reader()
    book.note(note(1, ASK, 1, 3))
    reader.news()
    file = fs.open("/a/TOUCHES", "rw")
    file.truncate(0)
    file.pwritev([damage], 0)
    assert reader.news() == []
    book.note(note(2, ASK, 1, 3))
    assert len(reader.news()) <= 1


def test_a_disk_that_fails_costs_hints_only() -> None:
    fs = FaultFileSystem(MemoryFileSystem(), [FailOp("pwritev", path="TOUCHES")])
    fs.mkdir("/a")
    book = TouchBook(fs, "/a/TOUCHES")
    book.note(note(1, ASK, 1, 3))
    book.note(note(2, ASK, 1, 3))


def churn(root: Root, space, start: int, rounds: int, used, by) -> None:
    """Store what nobody asks for, while ``by`` reads some pages now and then."""
    for n in range(rounds):
        root.clock.advance(1.0)
        put(space, range(start + 5 * n, start + 5 * n + 5))
        if by is not None:
            read(by, used)


@pytest.mark.parametrize("reads", [False, True])
def test_a_page_that_a_sibling_reads_again_and_again_stays(root: Root, reads: bool) -> None:
    a = root.open("a", eviction="lru")
    space = a.namespace(FIELDS, PAGE)
    b = root.open("b").namespace(FIELDS, PAGE)
    put(space, range(3))
    read(b, range(3))
    churn(root, space, 100, 40, range(3), b if reads else None)
    assert bool(space.contains_own(keys(range(3))).any()) is reads
    assert (a.stats().sharing.heard_pages > 0) is reads
    assert a.stats().evicted_pages > 100


def test_a_page_that_a_sibling_only_asks_for_or_offers_counts_as_used_too(root: Root) -> None:
    a = root.open("a", eviction="lru")
    space, b = a.namespace(FIELDS, PAGE), root.open("b").namespace(FIELDS, PAGE)
    put(space, range(4))
    for n in range(40):
        root.clock.advance(1.0)
        put(space, range(100 + 5 * n, 105 + 5 * n))
        assert b.contains_prefix(keys(range(2))) == 2
        assert put(b, range(2, 4)) == [True, True]
    assert space.contains_own(keys(range(4))).all()


def test_what_is_here_is_not_told(root: Root) -> None:
    b = root.open("b").namespace(FIELDS, PAGE)
    put(b, range(3))
    read(b, range(3))
    assert b.contains_prefix(keys(range(5))) == 3
    assert "TOUCHES" not in root.fs.listdir(f"{ROOT}/b")


def test_a_follower_without_a_directory_tells_nothing(root: Root) -> None:
    put(root.open("a").namespace(FIELDS, PAGE), range(3))
    assert len(read(root.follow().namespace(FIELDS, PAGE), range(3))) == 3
    assert root.fs.listdir(ROOT) == ["a"]
