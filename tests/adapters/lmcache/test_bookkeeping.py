"""The parts that keep LMCache's accounts true where two threads meet."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lsmkv_tensor.adapters.lmcache.chains import Chains
from lsmkv_tensor.adapters.lmcache.identity import record_of
from lsmkv_tensor.adapters.lmcache.locks import Locks
from lsmkv_tensor.adapters.lmcache.moving import memory_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import page_views
from tests.adapters.lmcache.conftest import SHAPE, content, listed, make_key
from tests.adapters.lmcache.fakes import FP16, MemoryObj

NAME = [bytes([i]) * 28 for i in range(5)]


def one_shelf(machine):
    """An adapter with a page, and where it lies."""
    adapter = machine.start()
    machine.store(adapter, [make_key(0)])
    (shelf,) = adapter._shelves.all()
    return adapter, shelf


def test_what_is_being_stored_is_not_deleted_before_it_is_told(machine):
    adapter, shelf = one_shelf(machine)
    key = make_key(1)
    name = key.chunk_hash[:28]
    adapter._teller.claim(shelf, [name])
    shelf.writer.put_many([name], [content(key, 5120)], records={name: record_of(key.chunk_hash, "")})
    adapter.delete([key])
    assert key not in adapter.listener.keys
    adapter._teller.release(shelf, [name], {name: key}, [])
    assert set(adapter.listener.keys) == set(listed(adapter)) == {make_key(0), key}
    assert adapter.get_usage().total_bytes_used == 2 * 5120


def test_what_is_evicted_while_it_is_stored_is_told_after_its_coming(machine):
    adapter, shelf = one_shelf(machine)
    key = make_key(1)
    name = key.chunk_hash[:28]
    adapter._teller.claim(shelf, [name])
    shelf.writer.put_many([name], [content(key, 5120)], records={name: record_of(key.chunk_hash, "")})
    for i in range(100, 300):  # it makes room for pages that nobody was told of
        shelf.writer.put_many([make_key(i).chunk_hash[:28]], [content(make_key(i), 5120)], wait=True)
    assert not shelf.writer.contains_own([name])[0]
    adapter.published.clear()
    adapter._teller.release(shelf, [name], {name: key}, [])
    assert adapter.published == [("stored", 1), ("deleted", 1)]
    assert [own for own, _ in shelf.writer.records(name)] == []


def test_a_put_that_evicts_what_it_was_to_store(machine):
    adapter, first = machine.start(), [make_key(i) for i in range(8)]
    machine.store(adapter, first)
    machine.store(adapter, first + [make_key(i) for i in range(100, 220)])
    assert set(adapter.listener.keys) == set(listed(adapter))
    assert adapter.get_usage().total_bytes_used == 5120 * len(adapter.listener.keys)


def test_a_lock_without_a_pin_takes_none_away():
    locks = Locks()
    pages = [(0, name) for name in NAME[:2]]
    locks.add(pages, [True, True])
    locks.add(pages, [False, True])
    assert locks.remove(pages) == [pages[1]]
    assert locks.remove(pages) == pages
    assert locks.remove(pages) == []
    assert len(locks) == 0


def test_the_oldest_predecessors_are_forgotten():
    chains = Chains(most=2)
    chains.note(NAME[:4], [True, False, False, False])
    assert chains.before(NAME[:4]) == [None, None, NAME[1], NAME[2]]
    chains.note([NAME[4], NAME[2]], [True, False])  # noted anew, it is the youngest
    chains.note([NAME[0], NAME[1]], [True, False])
    assert chains.before(NAME[:4]) == [None, NAME[0], NAME[4], None]


@pytest.mark.parametrize("count", [1, 3])
def test_the_memory_of_objects_is_theirs(count):
    items = [MemoryObj(SHAPE, FP16) for _ in range(count)]
    arrays = [item.memory for item in items]
    views = page_views(memory_of(items, 5120), count, 5120, writable=True)
    for i, spans in enumerate(views):
        spans[0][:] = bytes([i + 1]) * 5120
    assert [array.tobytes() for array in arrays] == [bytes([i + 1]) * 5120 for i in range(count)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_memory_of_another_device_is_refused(count):
    items = [MemoryObj(SHAPE, FP16) for _ in range(count)]
    for item in items:
        item.raw_tensor = SimpleNamespace(data_ptr=lambda: 4096, is_contiguous=lambda: True, device=SimpleNamespace(type="cuda"))
    with pytest.raises(InvalidArgumentError, match="bring it to the CPU"):
        memory_of(items, 5120)


@pytest.mark.parametrize("count", [1, 3])
def test_an_object_without_memory_is_refused(count):
    items = [SimpleNamespace(data_ptr=0) for _ in range(count)]
    with pytest.raises(InvalidArgumentError, match="null"):
        memory_of(items, 5120)
