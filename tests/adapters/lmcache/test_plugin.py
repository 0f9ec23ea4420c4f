"""The in-process plug-in on a disk in memory; `make test-lmcache` has the real storage manager."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FailOp, FaultFileSystem, Hang, MemoryFileSystem
from lsmkv_tensor.adapters.lmcache.chunks import ChunkNames, chunk_name
from lsmkv_tensor.adapters.lmcache_plugin import LsmkvStoragePlugin, UnstableHashError
from lsmkv_tensor.errors import InvalidArgumentError
from tests.adapters.lmcache.conftest import SHAPE, content, write_queued
from tests.adapters.lmcache.fakes import BF16, CacheEngineKey, CountedObj, LocalCPUBackend, Plugin

SHORT = (2, 2, 7, 40)


def keys_of(*numbers, worker=0, model="m"):
    return [CacheEngineKey(model, 2, worker, 1000 + i) for i in numbers]


class Engines:
    """Engine processes on one machine."""

    def __init__(self, machine):
        self.machine = machine

    def start(self, *, worker=0, room=1000, hashes="sha256_cbor", vllm=True, scheduler=False, **changes):
        given = self.machine.params(rng=seeded(len(self.machine.adapters)), scheduler=ManualScheduler(), **changes)
        has = ("sha256_cbor",) if vllm else ()
        config = SimpleNamespace(extra_config={"lsmkv": given}, pre_caching_hash_algorithm=hashes, vllm_has=has)
        metadata = SimpleNamespace(worker_id=worker, world_size=2)
        plugin = Plugin("cpu", config, metadata, None if scheduler else LocalCPUBackend(room))
        self.machine.adapters.append(plugin)
        return plugin

    @staticmethod
    def put(plugin, keys, shapes=None, told=None):
        items = [CountedObj(shape, BF16) for shape in shapes or [SHAPE] * len(keys)]
        for key, item in zip(keys, items, strict=True):
            item.memory[:] = content(key, item.get_size())
        plugin.batched_submit_put_task(keys, items, on_complete_callback=told)
        for item in items:
            item.ref_count_down()  # LMCache's own reference
        plugin.wait_idle()
        assert [item.metadata.ref_count for item in items] == [0] * len(items)
        write_queued(plugin)

    @staticmethod
    def check(keys, items):
        """Which came; the bytes of each that did are compared, and it is let go."""
        for key, item in zip(keys, items, strict=True):
            if item is not None:
                assert np.array_equal(item.memory, content(key, item.get_size()))
                item.ref_count_down()
        return [item is not None for item in items]

    def get(self, plugin, keys):
        came = self.check(keys, plugin.batched_get_blocking(keys))
        assert all(item.metadata.ref_count == 0 for item in plugin.get_allocator_backend().given)
        return came


@pytest.fixture
def engines(machine):
    return Engines(machine)


def test_chunks_are_stored_found_and_loaded(engines):
    plugin, keys, told = engines.start(), keys_of(*range(6)), []
    engines.put(plugin, keys, told=told.append)
    assert told == keys
    assert plugin.batched_contains([*keys, *keys_of(9)]) == 6
    assert plugin.batched_contains([*keys[:2], *keys_of(9), *keys[2:]]) == 2
    assert engines.get(plugin, [*keys, *keys_of(9)]) == [True] * 6 + [False]
    assert plugin.get_blocking(keys_of(9)[0]) is None
    assert not plugin.exists_in_put_tasks(keys[0])


def test_what_was_found_before_is_found_as_long_as_it_is_there(engines):
    plugin, keys = engines.start(), keys_of(*range(4))
    engines.put(plugin, keys, [SHAPE] * 3 + [SHORT])
    for _ in range(3):
        assert plugin.batched_contains(keys) == 4
        assert [plugin.contains(key) for key in keys_of(*range(5))] == [True] * 4 + [False]
    assert plugin.holding.store.stats().waterfall["ask"].hit_tokens == 24
    assert plugin.remove(keys[1])
    assert [plugin.contains(key) for key in keys] == [True, False, True, True]
    assert plugin.batched_contains(keys) == 1
    plugin.close()
    assert not plugin.contains(keys[0])


def test_of_keys_that_share_a_hash_each_is_asked_for_by_itself(engines):
    """What was found last is looked for by its hash, and that alone does not say whose it is."""
    plugin, (mine,) = engines.start(), keys_of(1)
    engines.put(plugin, [mine])
    others = [
        *keys_of(1, worker=1),
        *keys_of(1, model="n"),
        CacheEngineKey("m", 3, 0, 1001),
        CacheEngineKey("m", 2, 0, 1001, tags=(("user", 1),)),
        CacheEngineKey("m", 2, 0, 1001, dtype="torch.float8"),
        type("LayerCacheEngineKey", (CacheEngineKey,), {"layer_id": 3, "to_string": lambda _: "m@2@0@3e9@bfloat16@3"})(
            "m", 2, 0, 1001
        ),
    ]
    for _ in range(2):
        for other in others:
            assert plugin.contains(mine)
            assert plugin.contains(mine)
            assert not plugin.contains(other)
            assert engines.get(plugin, [other]) == [False]
            assert engines.get(plugin, [mine]) == [True]
    assert plugin.contains(mine, pin=True)
    assert plugin.unpin(mine)
    assert not plugin.unpin(mine)


def test_a_single_chunk_that_cannot_be_read_is_a_miss_and_keeps_no_memory(engines, machine):
    plugin, keys = engines.start(room=1), keys_of(*range(3))
    engines.put(plugin, keys)
    machine.fs.add(FailOp("preadv", path="*.seg"))
    assert plugin.contains(keys[1])
    assert engines.get(plugin, [keys[1]]) == [False]
    machine.fs.clear()
    for _ in range(2):
        assert engines.get(plugin, [keys[0]]) == [True]
        assert engines.get(plugin, [keys[1]]) == [True]
    assert (plugin.counts["loaded_pages"], plugin.counts["missing_pages"]) == (4, 1)


class Hesitating(LocalCPUBackend):
    """Has memory at once, or later, or never; or fails."""

    def __init__(self, memory):
        super().__init__()
        self.memory, self.waited = memory, []

    def allocate(self, shapes, dtypes, fmt=None, eviction=True, busy_loop=True):
        self.waited.append(busy_loop)
        if self.memory == "fails":
            raise MemoryError
        there = self.memory == "at once" or (self.memory == "later" and busy_loop)
        return super().allocate(shapes, dtypes, fmt) if there else None


@pytest.mark.parametrize(
    ("memory", "waited"), [("at once", [False]), ("later", [False, True]), ("never", [False, True]), ("fails", [False])]
)
def test_memory_for_a_single_chunk_is_made_while_the_disk_reads_and_only_then_waited_for(engines, machine, memory, waited):
    machine.fs = FaultFileSystem(MemoryFileSystem(page_cache=True, queues=True))
    plugin, keys = engines.start(), keys_of(*range(3))
    engines.put(plugin, keys)
    plugin.close()
    plugin = engines.start()
    while plugin.holding.store.step():
        pass
    host = plugin._allocator = plugin._carrier._allocator = Hesitating(memory)
    assert plugin.batched_contains(keys) == 3
    queued = machine.fs.add(Hang("queued", path="*.seg"))
    queued.event.set()
    came = memory in ("at once", "later")
    assert engines.get(plugin, [keys[1]]) == [came]
    assert machine.fs.hits(queued) == 1
    assert host.waited == waited
    assert plugin.holding.store.stats().hanging_reads == 0
    assert plugin.holding.store._services.queues.staging.lent_bytes == 0
    assert (plugin.counts["loaded_pages"], plugin.counts["missing_pages"]) == (int(came), int(memory == "never"))


class Failing(LocalCPUBackend):
    """Fails when it is asked for so many."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def allocate(self, shapes, dtypes, fmt=None, eviction=True, busy_loop=True):
        if len(self.given) == self.last:
            raise MemoryError
        return super().allocate(shapes, dtypes, fmt)


@pytest.mark.parametrize("last", range(4))
def test_what_was_loaded_before_something_failed_is_given_back(engines, last):
    """Of four chunks the fourth, a short one, lies in a namespace of its own."""
    plugin, keys = engines.start(), keys_of(*range(4))
    engines.put(plugin, keys, [SHAPE] * 3 + [SHORT])
    plugin.close()
    again = engines.start()
    again._allocator = again._carrier._allocator = Failing(last)
    assert engines.get(again, keys) == [False] * 4
    assert len(again.get_allocator_backend().given) == last


class Guarded(LocalCPUBackend):
    """Memory with something behind it that is not for chunks."""

    def allocate(self, *what, **how):
        item = super().allocate(*what, **how)
        whole = np.zeros(2 * item.memory.nbytes, np.uint8)
        item.memory, item.behind = whole[: item.memory.nbytes], whole[item.memory.nbytes :]
        return item


@pytest.mark.parametrize("together", [1, 2])
def test_a_chunk_that_is_larger_than_its_memory_is_a_miss_and_nothing_behind_that_is_written_to(engines, together):
    """Another LMCache, that counted something more as a chunk's bytes, stored it."""
    plugin, keys = engines.start(), keys_of(*range(2))
    engines.put(plugin, keys[1:])
    (shelf,) = plugin._carrier._shelves.all()
    larger = plugin._carrier._shelves.get(shelf.identity, shelf.layout, shelf.page_bytes + 512)
    assert larger.writer.put_many([chunk_name(keys[0])], [b"\1" * larger.page_bytes], wait=True) == [True]
    plugin._allocator = plugin._carrier._allocator = Guarded()
    for _ in range(3):
        assert plugin.contains(keys[0])
        assert engines.get(plugin, keys[:together]) == [False] * together
        assert engines.get(plugin, keys[1:]) == [True]
    assert all(not item.behind.any() for item in plugin.get_allocator_backend().given)


@pytest.mark.parametrize("others", [0, 2])
def test_a_chunk_whose_positions_cannot_be_read_keeps_no_memory(engines, others):
    plugin, keys = engines.start(), keys_of(*range(1 + others))
    items = [CountedObj(SHAPE, BF16) for _ in keys]
    for item in items:
        item.metadata.cached_positions = [5, 6, 7]
    plugin.batched_submit_put_task(keys, items)
    plugin.wait_idle()
    write_queued(plugin)
    assert plugin.batched_contains(keys) == len(keys)
    (shelf,) = plugin._carrier._shelves.all()
    shelf.writer.write_records({chunk_name(keys[-1]): b"no number"})
    assert engines.get(plugin, keys) == [False] * len(keys)
    assert plugin.get_allocator_backend().given


def test_a_short_chunk_ends_a_prompt(engines):
    plugin, keys = engines.start(), keys_of(*range(4))
    engines.put(plugin, keys, [SHAPE] * 3 + [SHORT])
    plugin.close()
    again = engines.start()
    assert again.batched_contains(keys) == 4
    assert engines.get(again, keys) == [True] * 4


def test_ranks_and_models_are_kept_apart(engines):
    plugin = engines.start()
    engines.put(plugin, keys_of(1))
    other = engines.start(worker=1)
    assert not plugin.contains(keys_of(1, worker=1)[0])
    assert not other.contains(keys_of(1, model="n")[0])
    engines.put(other, keys_of(1, worker=1))
    assert engines.get(other, keys_of(1, worker=1)) == [True]


def test_pinned_chunks_stay(engines):
    plugin, keys = engines.start(), keys_of(*range(4))
    engines.put(plugin, keys)
    assert plugin.batched_contains(keys, pin=True) == 4
    assert plugin.pin(keys[0])
    for i in range(100, 340, 8):
        engines.put(plugin, keys_of(*range(i, i + 8)))
    assert engines.get(plugin, keys) == [True] * 4
    assert [plugin.unpin(key) for key in [*keys, keys[0], keys[0]]] == [True] * 5 + [False]
    assert plugin.holding.store.stats().pinned_bytes == 0


def test_positions_are_kept_beside_their_chunk_and_go_with_it(engines):
    plugin, key = engines.start(), keys_of(1)[0]
    item = CountedObj(SHAPE, BF16)
    item.metadata.cached_positions = [5, 6, 7]
    plugin.batched_submit_put_task([key], [item])
    plugin.wait_idle()
    found = plugin.get_blocking(key)
    assert found.metadata.cached_positions == [5, 6, 7]
    found.ref_count_down()
    write_queued(plugin)
    again = plugin.get_blocking(key)
    assert again.metadata.cached_positions == [5, 6, 7]
    again.ref_count_down()
    (shelf,) = plugin._carrier._shelves.all()
    assert len(list(shelf.writer.records())) == 1
    for i in range(100, 340, 8):
        engines.put(plugin, keys_of(*range(i, i + 8)))
    assert not plugin.contains(key)
    assert list(shelf.writer.records()) == []


def test_what_is_being_stored_is_not_stored_twice(unqueued):
    plugin, keys = Engines(unqueued).start(), keys_of(1, 2)
    rule = unqueued.fs.add(Hang("pwritev", path="*.seg"))
    first = [CountedObj(SHAPE, BF16) for _ in keys]
    plugin.batched_submit_put_task(keys, first)
    assert rule.reached.wait(60)
    assert plugin.exists_in_put_tasks(keys[0])
    again = CountedObj(SHAPE, BF16)
    plugin.batched_submit_put_task(keys[:1], [again])
    assert ([item.metadata.ref_count for item in first], again.metadata.ref_count) == ([2, 2], 1)
    rule.event.set()
    plugin.wait_idle()
    assert [item.metadata.ref_count for item in first] == [1, 1]
    assert not plugin.exists_in_put_tasks(keys[0])


def test_a_failing_disk_is_a_miss_and_loses_no_reference(engines, machine):
    plugin, keys = engines.start(breaker_failures=0), keys_of(1, 2)
    engines.put(plugin, keys)
    for op in ("preadv", "pwritev", "pread", "sync", "open"):
        machine.fs.add(FailOp(op))
    assert engines.get(plugin, keys) == [False, False]
    engines.put(plugin, keys_of(3))
    assert plugin.counts["errors"] > 0 or plugin.counts["failed_pages"] == 1
    machine.fs.clear()
    assert engines.get(plugin, keys) == [True, True]


def test_no_memory_is_a_miss(engines):
    plugin, keys = engines.start(room=1), keys_of(1, 2)
    engines.put(plugin, keys)
    assert engines.get(plugin, keys) == [True, False]


def test_the_loop_does_not_wait_for_the_disk(engines, machine):
    plugin, keys = engines.start(direct_io="always"), keys_of(*range(3))
    engines.put(plugin, keys)
    rule = machine.fs.add(Hang("preadv", path="*.seg"))

    async def main():
        """The loop goes on while a read hangs; then both get what is there, as far as there is memory."""
        load = asyncio.ensure_future(plugin.batched_get_non_blocking("id", keys))
        await asyncio.to_thread(rule.reached.wait, 60)
        found = await plugin.batched_async_contains("id", keys)
        assert not load.done()
        given_up = asyncio.ensure_future(plugin.batched_get_non_blocking("id", keys))
        await asyncio.sleep(0)
        given_up.cancel()
        rule.event.set()
        items = await load
        await asyncio.to_thread(plugin.wait_idle)  # what nobody waits for any more comes while there is a loop
        return found, items

    found, items = asyncio.run(main())
    plugin.wait_idle()
    assert (found, engines.check(keys, items)) == (3, [True] * 3)
    assert all(item.metadata.ref_count == 0 for item in plugin.get_allocator_backend().given)


def test_asynchronous_loads_end_at_the_first_that_is_missing(engines):
    plugin, keys = engines.start(), keys_of(*range(4))
    engines.put(plugin, [keys[0], keys[1], keys[3]])
    items = asyncio.run(plugin.batched_get_non_blocking("id", keys))
    assert engines.check(keys[:2], items) == [True, True]
    assert all(item.metadata.ref_count == 0 for item in plugin.get_allocator_backend().given)


def test_removed_chunks_are_gone(engines):
    plugin, keys = engines.start(), keys_of(1, 2, 3)
    engines.put(plugin, keys)
    assert plugin.remove(keys[0])
    assert plugin.batched_remove(keys) == 2
    assert engines.get(plugin, keys) == [False] * 3


def test_the_scheduler_reads_only(engines, machine):
    reader = engines.start(scheduler=True)
    worker = engines.start()
    engines.put(worker, keys_of(1, 2))
    assert reader.get_allocator_backend() is None
    machine.clock.advance(1.5)
    assert reader.batched_contains(keys_of(1, 2, 3), pin=True) == 2
    assert [reader.unpin(key) for key in keys_of(1, 2)] == [True, True]
    assert reader.holding.state == "following"


def test_pythons_own_hash_is_refused_unless_it_is_meant(engines):
    with pytest.raises(UnstableHashError, match="pre_caching_hash_algorithm: sha256_cbor"):
        engines.start(hashes="builtin")
    engines.start(hashes="builtin", allow_unstable_hash=True)
    with pytest.raises(InvalidArgumentError, match="allow_unstable_hash = 'true': must be true or false"):
        engines.start(hashes="builtin", allow_unstable_hash="true")


@pytest.mark.parametrize(
    ("algorithm", "advice"),
    [
        ("builtin", "Set pre_caching_hash_algorithm: sha256_cbor, use the server"),
        ("sha256_cbor", "takes from vLLM, and there is none in this Python, .* Install vLLM there, use the server"),
        ("blake3", "does not have, if one is, .* Set pre_caching_hash_algorithm: sha256_cbor, use the server"),
    ],
)
def test_advice_about_the_hash_is_not_what_was_done_already(engines, algorithm, advice):
    """Whoever had set sha256_cbor, without vLLM, was told to set sha256_cbor."""
    with pytest.raises(UnstableHashError, match=advice):
        engines.start(hashes=algorithm, vllm=algorithm == "blake3")


def test_what_comes_after_the_end_is_answered(engines):
    plugin, keys = engines.start(), keys_of(1)
    plugin.close()
    plugin.close()
    item = CountedObj(SHAPE, BF16)
    plugin.batched_submit_put_task(keys, [item])
    assert (item.metadata.ref_count, plugin.exists_in_put_tasks(keys[0])) == (1, False)
    assert plugin.batched_contains(keys) == 0
    assert asyncio.run(plugin.batched_async_contains("id", keys)) == 0


def test_wrong_settings_are_named(engines):
    with pytest.raises(InvalidArgumentError, match=r'extra_config\["lsmkv"\] has the unknown key'):
        engines.start(capasity=3)
    for given in ("/nvme/kv", None, ["path"]):
        config = SimpleNamespace(extra_config={"lsmkv": given}, pre_caching_hash_algorithm="sha256_cbor")
        with pytest.raises(InvalidArgumentError, match=r'^extra_config\["lsmkv"\] must be an object such as'):
            Plugin("cpu", config, SimpleNamespace(worker_id=0, world_size=1), LocalCPUBackend())
    config = SimpleNamespace(extra_config=None, pre_caching_hash_algorithm="sha256_cbor")
    with pytest.raises(InvalidArgumentError, match="path is missing"):
        Plugin("cpu", config, SimpleNamespace(worker_id=0, world_size=1), LocalCPUBackend())


@pytest.mark.skipif(find_spec("lmcache") is not None, reason="it is installed")
def test_without_lmcache_it_says_what_to_install():
    with pytest.raises(ImportError, match=r"lmcache>=0\.5\.6,<0\.6"):
        LsmkvStoragePlugin()


def test_it_loads_without_torch_and_lmcache():
    blocked = "import sys; sys.modules.update(torch=None, lmcache=None); import lsmkv_tensor.adapters.lmcache_plugin"
    subprocess.run([sys.executable, "-c", blocked], check=True)


def test_names_are_remembered_and_are_those_of_the_text():
    names = ChunkNames(most=6)
    layer = type("LayerCacheEngineKey", (CacheEngineKey,), {"layer_id": 0, "to_string": lambda self: f"layer {self.layer_id}"})
    layers = [layer("m", 2, 0, 1) for _ in range(3)]
    for i, one in enumerate(layers):
        object.__setattr__(one, "layer_id", i)
    tags = [CacheEngineKey("m", 2, 0, 1, tags=(("user", user),)) for user in (1, True)]
    tags += [CacheEngineKey("m", 2, 0, 1, tags=(("users", ["a"]),))]
    unknown = [type("Other", (CacheEngineKey,), {})("m", 2, 0, i) for i in range(2)]
    calls = [
        *([one] for one in (*layers, *tags, *keys_of(1))),
        keys_of(*range(4)),
        keys_of(*range(2, 9)),
        keys_of(1, worker=1),
        keys_of(1, model="n"),
        layers,
        tags,
        unknown,
    ]
    for keys in [*calls, [*keys_of(*range(4)), *layers], [*layers, *keys_of(1)], [], *reversed(calls)]:
        assert names.of(keys) == [chunk_name(key) for key in keys]
    assert len(names._known) <= 6 + 1


@pytest.mark.parametrize("named", ["LayerCacheEngineKey", "Other"])
def test_a_key_among_others_of_another_class_is_not_remembered_by_what_those_say(named):
    """The layers of a chunk had the name of the first of them that was asked for behind a whole chunk."""
    kind = type(named, (CacheEngineKey,), {"to_string": lambda self: f"layer {self.layer_id}"})
    layers = [kind("m", 2, 0, 1) for _ in range(2)]
    for i, one in enumerate(layers):
        object.__setattr__(one, "layer_id", i)
    names = ChunkNames()
    for keys in ([*keys_of(1), layers[0]], [layers[1]], [*keys_of(1), layers[1]]):
        assert names.of(keys) == [chunk_name(key) for key in keys]
    assert names.by_hash(1) is None


def test_what_is_dropped_at_the_end_is_let_go(unqueued):
    plugin = Engines(unqueued).start(threads=1, shutdown_s=0.0)
    items = [CountedObj(SHAPE, BF16) for _ in range(2)]
    rule = unqueued.fs.add(Hang("pwritev", path="*.seg"))
    try:
        plugin.batched_submit_put_task(keys_of(0), items[:1])
        assert rule.reached.wait(60)
        plugin.batched_submit_put_task(keys_of(1), items[1:])
        plugin.close()
        assert items[1].metadata.ref_count == 1  # LMCache's own
        assert not plugin.exists_in_put_tasks(keys_of(1)[0])
    finally:
        rule.event.set()
    plugin.wait_idle()
    assert items[0].metadata.ref_count == 1
