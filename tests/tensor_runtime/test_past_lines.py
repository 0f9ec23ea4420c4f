"""Pages end to end that no cache holds: read in groups, none begun while another is under way, each page checked by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.testing import FailOp, FlipByte, Hang, MemoryFileSystem
from lsmkv.testing.queues import EmulatedQueue
from lsmkv_tensor.vlog import past
from lsmkv_tensor.vlog.bringing import TRUST
from tests.tensor_pages.conftest import INDEX
from tests.tensor_runtime.conftest import Call, lent
from tests.tensor_runtime.test_past_reads import CANARY, QueueingWorld

SIZE = 64 << 10
PER_READ = past.RUN_BYTES // SIZE


class _Recorded(EmulatedQueue):
    """Keeps the numbers of the reads of each group, and of those that were under way when it was begun."""

    def __init__(self, depth, groups):
        super().__init__(depth)
        self.groups = groups

    def begin(self, reads):
        self.groups.append((self.waiting, [number for number, *_ in reads]))
        return super().begin(reads)


class _Recording(MemoryFileSystem):
    """A disk with such queues."""

    def __init__(self):
        super().__init__(page_cache=True, queues=True)
        self.groups = []

    def read_queue(self, depth):
        return _Recorded(depth, self.groups)


@pytest.fixture
def world():
    yield from lent(QueueingWorld())


def recording(world, ids):
    """A namespace with these pages on a disk that records, and the record."""
    world.fs = _Recording()
    ns = world.filled(ids, SIZE)
    world.fs.groups.clear()
    return ns, world.fs.groups


def pages_of(world, ns, ids, **when):
    out = np.full((len(ids), SIZE), CANARY, np.uint8)
    flags = ns.get_into(world.keys(ids), out, **when)
    return flags, [out[at].tobytes() == world.page(ids[at], SIZE) for at in range(len(ids))]


@given(pages=st.integers(4, 64))
def test_groups_get_smaller_and_none_is_begun_while_another_is_under_way(pages):
    world = QueueingWorld()
    ns, groups = recording(world, range(pages))
    flags, whole = pages_of(world, ns, range(pages), deadline_s=5)
    world.store.close()
    assert all(flags)
    assert all(whole)
    assert not any(waiting for waiting, _ in groups)
    sizes = [len(numbers) for _, numbers in groups]
    assert max(sizes) <= past.GROUP
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert [n for _, numbers in groups for n in numbers] == list(range(sum(sizes)))
    assert sum(sizes) >= pages // PER_READ


@pytest.mark.parametrize("alone", [1, 7, 28])
def test_large_reads_and_small_ones_are_under_way_together(alone):
    """The memory that one read takes is that of the largest."""
    world, small = QueueingWorld(), 8192
    world.fs = _Recording()
    ns = world.filled(range(512), small)
    world.fs.groups.clear()
    ids = [*range(40), *range(72, 72 + 15 * alone, 15)]  # no two within 64 KiB
    assert world.get(ns, ids, small, deadline_s=5)[1] == set(ids)
    world.store.close()
    groups = [numbers for _, numbers in world.fs.groups]
    assert [n for numbers in groups for n in numbers] == list(range(1 + alone))
    assert len(groups[0]) == min((1 + alone) // 2, past.GROUP)
    assert len(groups) == {1: 2, 7: 4, 28: 10}[alone]


def test_a_group_is_looked_at_while_the_next_is_under_way(world):
    ns = world.filled(range(32), SIZE)
    rule = world.fs.add(Hang("queued", path="*.seg", nth=3, times=1))
    call = Call(lambda: world.get(ns, range(32), SIZE, deadline_s=9))
    assert rule.reached.wait(60)
    world.clock.advance(10)
    got, copied, out = call.result()
    assert got == copied == set(range(2 * PER_READ))  # the first group, of two reads
    assert (out[2 * PER_READ :] == CANARY).all()
    assert world.store.stats().late_pages == 32 - 2 * PER_READ
    rule.event.set()
    assert world.store.stats().hanging_reads == 0
    assert (out[2 * PER_READ :] == CANARY).all()


@pytest.mark.parametrize("at", [0, 7, 8, 29])
def test_of_pages_in_a_line_one_that_is_wrong_is_a_miss_and_the_others_are_there(world, at):
    ns = world.filled(range(30), SIZE)  # in one segment
    place = world.store._log.current_places(ns.index_keys(world.keys([at])))[0]
    world.fs.add(FlipByte(place.offset + 100, path="*.seg"))
    assert world.get(ns, range(30), SIZE, deadline_s=5)[0] == set(range(30)) - {at}
    assert (world.store.stats().corrupt_pages, world.store.stats().misses) == (1, 1)


def test_a_line_that_ends_before_its_last_page_gives_those_that_came(world):
    """A file cut short: what was read of the last pages are fewer bytes than they have."""
    ns = world.filled(range(30), SIZE)
    place = world.store._log.current_places(ns.index_keys(world.keys([20])))[0]
    file = world.fs.open(world.store._files.path(place.segment), "rw")
    file.truncate(place.offset + 5000)
    file.close()
    assert world.get(ns, range(30), SIZE, deadline_s=5)[0] == set(range(20))


@pytest.mark.parametrize("fails", [False, True])
def test_a_line_that_is_to_stay_in_the_page_cache_is_brought_there_in_one_piece(world, fails):
    ns = world.filled(range(30), SIZE)
    world.get(ns, range(30), SIZE)
    fetched = Hang("fetch", path="*.seg")
    fetched.event.set()
    rule = world.fs.add(FailOp("fetch", path="*.seg") if fails else fetched)
    assert world.get(ns, range(30), SIZE)[0] == set(range(30))
    assert world.fs.hits(rule) == 1
    assert world.store.stats().read_errors == 0


def test_a_long_line_speaks_for_bringing_as_often_as_it_would_against(world):
    """It is brought, and lost, in parts; all of it in memory was heard of once."""
    segment = 8 << 20
    ns = world.filled(range(48), SIZE, segment_bytes=segment, capacity_bytes=INDEX + 8192 + 6 * segment)
    bringing = world.store._reader._at_once._bringing
    for _ in range(2):
        assert all(pages_of(world, ns, range(48))[0])
    assert bringing._lent > 3
    assert all(pages_of(world, ns, range(48))[0])
    assert bringing._lent == 0
    assert bringing._trust > TRUST + 3
