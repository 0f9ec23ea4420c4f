"""Close, fork, threads: nothing is left open, nothing is used after its end."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from lsmkv_tensor import PageFollower, PageStore, StoreOptions
from lsmkv_tensor.errors import ClosedError
from lsmkv_tensor.sharing.segments import MAX_OPEN
from tests.sharing.conftest import FIELDS, PAGE, Root, keys, page, put, read

OPTIONS = StoreOptions(capacity_bytes=4 << 20, segment_bytes=64 << 10, index_bytes=1 << 20)


def files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def pair(tmp_path: Path):
    with PageStore.open(tmp_path, options=OPTIONS, member="a") as a, PageStore.open(tmp_path, options=OPTIONS, member="b") as b:
        yield a, b


def test_nothing_stays_open_after_close(tmp_path: Path) -> None:
    before, threads = files(), threading.active_count()
    for _ in range(3):
        with (
            PageStore.open(tmp_path, options=OPTIONS, member="a") as a,
            PageStore.open(tmp_path, options=OPTIONS, member="b") as b,
            PageFollower.open(tmp_path) as reader,
        ):
            put(a.namespace(FIELDS, PAGE), range(40))
            assert len(read(b.namespace(FIELDS, PAGE), range(40))) == 40
            assert len(read(reader.namespace(FIELDS, PAGE), range(40))) == 40
    assert files() == before
    assert threading.active_count() == threads


def test_a_sibling_is_read_through_few_descriptors(tmp_path: Path) -> None:
    options = StoreOptions(capacity_bytes=8 << 20, segment_bytes=64 << 10, index_bytes=1 << 20)
    with PageStore.open(tmp_path, options=options, member="a") as a:
        put(a.namespace(FIELDS, PAGE), range(400))
        assert a.stats().segments > MAX_OPEN
        before = files()
        with PageFollower.open(tmp_path) as reader:
            space = reader.namespace(FIELDS, PAGE)
            for i in range(400):
                assert read(space, [i]) == {i: page(i)}
            assert files() - before <= MAX_OPEN + 8
        assert files() == before


def test_segments_that_nobody_reads_are_let_go(root: Root) -> None:
    """Else a file that its writer removed would keep its bytes on the disk."""
    a = root.open("a")
    put(a.namespace(FIELDS, PAGE), range(20))
    follower = root.follow()
    assert len(read(follower.namespace(FIELDS, PAGE), range(20))) == 20
    a.close()
    root.stores.remove(a)
    root.open("a", segments=3)
    for _ in range(3):
        root.clock.advance(1.0)
        read(follower.namespace(FIELDS, PAGE), [19])
    held = follower._siblings._followed[0]._segments._files
    assert len(held) <= 1


def test_a_segment_made_anew_under_an_old_number_is_read_at_once(root: Root) -> None:
    """The handle on the removed file is not tried first."""
    a = root.open("a")
    put(a.namespace(FIELDS, PAGE), range(30))
    follower = root.follow(discover_s=1e9)
    space = follower.namespace(FIELDS, PAGE)
    assert len(read(space, range(30))) == 30
    for segments in (3, 6):
        a.close()
        root.stores.remove(a)
        a = root.open("a", segments=segments)
    put(a.namespace(FIELDS, PAGE), range(100, 120))
    follower.refresh()
    assert set(read(space, range(100, 120))) == set(range(100, 120))
    assert [sibling.retries for sibling in follower.stats().sharing.siblings] == [0]


def test_after_close_calls_say_so(root: Root) -> None:
    b = root.open("b")
    space = b.namespace(FIELDS, PAGE)
    b.close()
    b.close()
    with pytest.raises(ClosedError):
        read(space, [1])


def in_child(work) -> int:
    pid = os.fork()
    if not pid:
        try:
            os._exit(work())
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_a_forked_child_it_is_closed_and_the_parent_notices_nothing(tmp_path: Path, pair) -> None:
    a, b = pair
    mine = b.namespace(FIELDS, PAGE)
    put(a.namespace(FIELDS, PAGE), range(10))
    with PageFollower.open(tmp_path) as reader:
        space = reader.namespace(FIELDS, PAGE)
        assert len(read(mine, range(10))) == len(read(space, range(10))) == 10

        def child() -> int:
            refused = 0
            for look in (mine, space):
                try:
                    read(look, [1])
                except ClosedError:
                    refused += 1
            b.close()
            reader.close()
            with PageFollower.open(tmp_path) as own:  # it may open others
                found = len(read(own.namespace(FIELDS, PAGE), range(10)))
            return 0 if (refused, found) == (2, 10) else 1

        assert in_child(child) == 0
        put(a.namespace(FIELDS, PAGE), range(10, 12))
        assert len(read(mine, range(12))) == len(read(space, range(12))) == 12


def test_threads_share_a_follower(tmp_path: Path, pair) -> None:
    a, b = pair
    mine = a.namespace(FIELDS, PAGE)
    failures: list[BaseException] = []
    stop = threading.Event()

    def look(space) -> None:
        try:
            while not stop.is_set():
                there = [i for i, here in enumerate(mine.contains_own(keys(range(200)))) if here]
                got = read(space, there)
                assert all(data == page(i) for i, data in got.items())
                space.contains_prefix(keys(range(50)))
        except BaseException as error:
            failures.append(error)

    with PageFollower.open(tmp_path) as reader:
        spaces = [b.namespace(FIELDS, PAGE), reader.namespace(FIELDS, PAGE)]
        threads = [threading.Thread(target=look, args=(spaces[i % 2],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for start in range(0, 600, 10):
            put(mine, [i % 200 for i in range(start, start + 10)])
            mine.delete_many(keys([(start + i) % 200 for i in range(100, 105)]))
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures[0]
