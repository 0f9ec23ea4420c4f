"""Pages are the same whichever way they are read: by several threads, past the page cache, leaving nothing in it, read ahead."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lsmkv.testing import MemoryFileSystem
from lsmkv_tensor import PageStore, StoreOptions
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.runtime.crew import Crew
from lsmkv_tensor.spans import PageSpans
from lsmkv_tensor.vlog.layout import BLOCK, NO_PARENT, Place
from lsmkv_tensor.vlog.pieces import HINT_BYTES, PIECE_BYTES, Want, advise, cut

WAYS = [{"direct_io": "always"}, {"direct_io": "off"}, {"keep_cached": False}, {"direct_io": "off", "keep_cached": False}]
PATIENCE_S = 30


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [100, 4096, 9000])
def test_every_way_of_reading_delivers_the_same_pages(world, way, size):
    store = world.open(**way)
    ns = store.namespace({"m": 1}, size)
    world.put(ns, range(4))
    world.put(ns, range(4, 7))
    store.sync()
    for _ in range(2):
        assert world.check(ns, range(8)) == set(range(7))
        ns = world.reopen(**way).namespace({"m": 1}, size)


@pytest.mark.parametrize("way", WAYS)
def test_pages_are_read_into_spans_of_any_alignment(world, way):
    store = world.open(**way)
    ns = store.namespace({"m": 1}, 8192)
    world.put(ns, range(3))
    memory = np.zeros(3 * 8192 + 6000, np.uint8)
    for skip in (-memory.ctypes.data % 4096, 1, 513):
        base = memory.ctypes.data + skip
        spans = PageSpans(np.array([[base + i * 8192, base + i * 8192 + 1000] for i in range(3)]), np.array([1000, 7192]), memory)
        assert ns.get_into(world.keys(range(3)), spans) == [True] * 3
        assert memory[skip : skip + 3 * 8192].tobytes() == b"".join(world.pages(range(3), 8192))


def test_a_file_system_without_direct_io_is_read_through_the_page_cache(world):
    world.fs = MemoryFileSystem(direct=False)
    store = world.open(direct_io="always")
    assert not store.stats().direct_io
    ns = store.namespace({"m": 1}, 5000)
    world.put(ns, range(3))
    assert world.check(ns, range(3)) == {0, 1, 2}


@pytest.mark.parametrize("fields", [{"direct_io": "never"}, {"keep_cached": 1}, {"read_threads": 0}])
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(InvalidArgumentError, match=next(iter(fields))):
        StoreOptions(**fields)


LARGE = PIECE_BYTES + 70_001


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("direct", ["auto", "always"])
def test_large_pages_arrive_whole_by_one_thread_and_by_several(tmp_path, world, threads, direct):
    options = StoreOptions(capacity_bytes=96 << 20, segment_bytes=8 << 20, read_threads=threads, direct_io=direct)
    with PageStore.open(tmp_path / "s", options=options) as store:
        ns = store.namespace({"m": 1}, LARGE)
        pages = [world.page(i, LARGE) for i in range(16)]
        for i in range(0, 16, 4):
            assert all(ns.put_many(world.keys(range(i, i + 4)), pages[i : i + 4]))
        sizes = np.array([1, 4095, PIECE_BYTES, LARGE - PIECE_BYTES - 4096])
        out = np.zeros((16, LARGE + 512), np.uint8)
        starts = np.concatenate([[0], sizes.cumsum()[:-1]])
        spans = PageSpans(out.ctypes.data + np.arange(16)[:, None] * out.shape[1] + starts, sizes, out)
        assert ns.get_into(world.keys(range(16)), spans) == [True] * 16
        assert [row[:LARGE].tobytes() for row in out] == pages
    name = min((tmp_path / "s" / "vlog").iterdir())
    with name.open("r+b") as file:
        file.seek(3 << 20)
        file.write(b"?" * 5)
    with PageStore.open(tmp_path / "s", options=options) as store:
        ns = store.namespace({"m": 1}, LARGE)
        flags = ns.get_into(world.keys(range(16)), out[:, :LARGE].copy())
        assert flags.count(False) == 1
        assert store.stats().corrupt_pages == 1


def test_pages_are_read_ahead_on_request(world):
    hints = []

    class Hinted(MemoryFileSystem):
        def open(self, path, mode="r", *, direct=False):
            file = super().open(path, mode, direct=direct)
            advise = file.advise
            file.advise = lambda advice, at=0, size=0: (hints.append((path, advice, at, size)), advise(advice, at, size))
            return file

    world.fs = Hinted()
    ns = world.open().namespace({"m": 1}, 9000)
    world.put(ns, range(4))
    del hints[:]
    assert ns.contains_prefix(world.keys(range(6))) == 4
    assert not hints
    assert ns.contains_prefix(world.keys(range(6)), prefetch=True) == 4
    assert hints == [("/store/vlog/000001.seg", "willneed", 8192, 3 * 12288 + 9000)]
    assert ns.contains_prefix(world.keys(range(5, 6)), prefetch=True) == 0


def test_a_crew_works_side_by_side_and_leaves_nobody_behind():
    crew = Crew(2)
    together = threading.Barrier(3)
    names = crew.run([lambda: (together.wait(PATIENCE_S), threading.get_ident())[1]] * 3)
    assert len(set(names)) == 3
    assert threading.get_ident() in names
    crew.stop()
    assert crew.run([lambda i=i: i for i in range(5)]) == list(range(5)), "a crew that was stopped leaves all to the caller"


def test_threads_that_hang_slow_nobody_else_down():
    crew = Crew(1)
    hang, hangs = threading.Event(), threading.Event()

    def first():
        assert hangs.wait(PATIENCE_S)
        return "first"

    def second():
        hangs.set()
        hang.wait(PATIENCE_S)
        return "second"

    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.extend(crew.run([first, second])))
    caller.start()
    assert hangs.wait(PATIENCE_S)
    assert crew.run([lambda: 1, lambda: 2]) == [1, 2]
    assert not answers
    hang.set()
    caller.join(PATIENCE_S)
    assert answers == ["first", "second"]
    crew.stop()


def test_an_error_of_a_part_reaches_the_caller_when_nothing_runs_any_more():
    crew = Crew(1)
    entered, done = threading.Barrier(2), []

    def slow():
        entered.wait(PATIENCE_S)
        done.append(1)

    def broken():
        entered.wait(PATIENCE_S)
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        crew.run([broken, slow])
    assert done == [1]
    crew.stop()


def test_the_kernel_hears_of_every_stretch_before_it_is_read():
    class Heard:
        def __init__(self):
            self.hints = []

        def advise(self, advice, offset=0, size=0):
            self.hints.append((advice, offset // BLOCK, size))

    def wants(*blocks):
        return [Want(i, b"", Place(1, 1, at, BLOCK, 0, NO_PARENT, 0), ()) for i, at in enumerate(blocks)]

    for blocks, most, hints in (
        ((1, 2, 3), 1 << 20, []),  # one piece: reading it is hint enough
        ((1, 2, 3), BLOCK, [("willneed", 1, 3 * BLOCK)]),
        ((1, 2, 50, 51, 99), 1 << 20, [("willneed", 50, 2 * BLOCK), ("willneed", 99, BLOCK)]),
        (range(HINT_BYTES // BLOCK), 1 << 20, [("willneed", 0, HINT_BYTES)]),
        (range(HINT_BYTES // BLOCK + 1), 1 << 20, []),  # its own read-ahead does better
    ):
        file = Heard()
        advise(file, cut(wants(*blocks), most))
        assert file.hints == hints


def test_a_machine_without_further_threads_costs_speed_only():
    crew = Crew(2)
    ordinary = threading.stack_size(1 << 46)  # no machine gives a thread that much
    try:
        assert crew.run([lambda: 1, lambda: 2]) == [1, 2]
    finally:
        threading.stack_size(ordinary)
    meeting = threading.Barrier(3)
    assert len(crew.run([lambda: meeting.wait(PATIENCE_S)] * 3)) == 3, "the failure was not counted as a thread"
    crew.stop()
