"""Pages that lie end to end are read as lines; whatever is not so simple is still delivered, page by page."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.testing import MemoryFileSystem
from lsmkv_tensor.spans import PageSpans
from lsmkv_tensor.vlog.layout import BLOCK, NO_PARENT, Place
from lsmkv_tensor.vlog.straight import WHOLE_BYTES, lines_of, parts_of

SIZE = 2 * BLOCK


def place(block, *, segment=1, generation=1, length=SIZE, kind=0, check=7):
    return Place(segment, generation, block, length, kind, NO_PARENT, check)


def packed(*places):
    return [one.pack() for one in places]


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(0, 9), st.integers(4, 9)), min_size=1, max_size=4))
def test_lines_cover_every_page_once_and_each_page_begins_where_the_last_one_ends(runs):
    places = [
        place(100 * first + 2 * i, segment=segment, generation=generation, check=i)
        for segment, generation, first, pages in runs
        for i in range(pages)
    ]
    found = lines_of(packed(*places))
    assert found is not None
    assert tuple(found.checks) == tuple(p.check for p in places)
    covered = [at for line in found.lines for at in range(line.start, line.stop)]
    assert covered == list(range(len(places)))
    for line in found.lines:
        mine = places[line.start : line.stop]
        assert line.place[:4] == mine[0][:4]
        assert all(p[:2] == mine[0][:2] and p.block == mine[0].block + 2 * i for i, p in enumerate(mine))


def test_what_is_not_simple_is_left_to_others():
    four = [place(10 + 2 * i) for i in range(4)]
    assert lines_of(packed(*four)) is not None
    assert lines_of(packed(*four[:3])) is None
    for other in (place(18, length=SIZE - 1), place(18, length=3 * BLOCK), place(18, kind=1), place(18, kind=5 << 8)):
        assert lines_of(packed(*four, other)) is None
    assert lines_of(packed(*(place(10 + 5 * i) for i in range(8)))) is None
    assert lines_of([*packed(*four[:3]), four[3].pack() + b"?"]) is None


def test_a_line_is_read_whole_or_in_pieces_that_the_kernel_takes():
    line = lines_of(packed(*(place(1 + 16 * i, length=16 * BLOCK) for i in range(64)))).lines[0]
    assert 64 * 16 * BLOCK > WHOLE_BYTES
    for spans, pages in ((1, 8), (200, 5), (2000, 1)):
        parts = parts_of(line, spans)
        assert [at for part in parts for at in range(part.start, part.stop)] == list(range(64))
        assert {part.stop - part.start for part in parts[:-1]} == {pages}
        assert all(part.offset == BLOCK + part.start * 16 * BLOCK for part in parts)


def test_one_damaged_page_of_a_line_is_lost_and_no_other(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(6))
    world.fs.open("/store/vlog/000001.seg", "rw").pwritev([b"?"], 2 * BLOCK + 3 * SIZE + 5)
    assert world.check(ns, range(7)) == {0, 1, 2, 4, 5}
    assert store.stats().corrupt_pages == 1
    assert store.stats().read_errors == 0
    assert not ns.contains(world.keys([3]))[0]


def test_pages_of_many_spans_lie_in_lines_too(world):
    ns = world.open().namespace({"m": 1}, SIZE)
    world.put(ns, range(6))
    memory = np.zeros((6, SIZE + 100), np.uint8)
    firsts = memory.ctypes.data + np.arange(6)[:, None] * memory.shape[1]
    spans = PageSpans(np.hstack([firsts, firsts + 1100]), np.array([1000, SIZE - 1000]), memory)
    assert ns.get_into(world.keys(range(6)), spans) == [True] * 6
    for i, row in enumerate(memory):
        assert row[:1000].tobytes() + row[1100:].tobytes() == world.page(i, SIZE)


def test_a_line_that_moved_after_it_was_looked_up_is_found_at_its_new_place(world):
    world.segments = 12
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    for s in range(3):
        world.put(ns, range(7 * s, 7 * s + 7))
    ns.delete_many(world.keys(i for i in range(21) if i % 7 > 4))
    alive = {i for i in range(21) if i % 7 <= 4}
    acquire, moved = store._space.acquire, []

    def moving(place):
        store._space.acquire = acquire
        moved.append(store.gc(max_live=0.9).bytes_moved)
        for s in range(3):  # the old places are written over
            world.put(ns, range(1000 + 7 * s, 1007 + 7 * s))
        return acquire(place)

    store._space.acquire = moving
    assert world.check(ns, sorted(alive)) == alive
    assert moved[0] > 0
    assert store.stats().corrupt_pages == 0


def test_an_error_in_a_line_costs_the_pages_that_cannot_be_read(make_world):
    class Broken(MemoryFileSystem):
        bad = range(0)

        def open(self, path, mode="r", *, direct=False):
            file = super().open(path, mode, direct=direct)
            if path.endswith(".seg") and mode == "r":
                read = file.preadv

                def preadv(buffers, offset):
                    if any(offset <= at < offset + sum(map(len, buffers)) for at in self.bad):
                        raise OSError(5, "input/output error", path)
                    return read(buffers, offset)

                file.preadv = preadv
            return file

    world = make_world(Broken())
    with world.open() as store:
        ns = store.namespace({"m": 1}, SIZE)
        world.put(ns, range(6))
        at = 2 * BLOCK + 2 * SIZE
        world.fs.bad = range(at, at + SIZE)
        assert world.check(ns, range(6)) == {0, 1, 3, 4, 5}
        assert store.stats().read_errors == 1
        assert ns.contains(world.keys([2]))[0], "a page that could not be read is not forgotten"


def test_lines_need_no_hint_where_one_call_reads_all(world):
    hints = []

    class Hinted(MemoryFileSystem):
        def open(self, path, mode="r", *, direct=False):
            file = super().open(path, mode, direct=direct)
            file.advise = lambda advice, at=0, size=0: hints.append((advice, at, size))
            return file

    world.fs = Hinted()
    store = world.open(capacity_bytes=64 << 20, segment_bytes=8 << 20)
    ns = store.namespace({"m": 1}, 256 << 10)
    world.put(ns, range(12))
    del hints[:]
    assert world.check(ns, range(8)) == set(range(8))
    assert not hints
    assert world.check(ns, range(12)) == set(range(12))
    assert hints == [("willneed", 2 * BLOCK, 12 * 256 << 10)]
