"""Puts that are accepted at once and written by a worker: nobody waits, nothing accepted is lost, the queue has an end."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.env.rng import seeded
from lsmkv.testing import FailOp, FaultFileSystem, Hang
from lsmkv_tensor import PageFormat, TensorStore
from lsmkv_tensor.errors import ClosedError, InvalidArgumentError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from tests.tensor_pages.conftest import World
from tests.tensor_runtime.conftest import SIZE, Call, FaultyWorld

QUEUE = 10 * SIZE
FMT = PageFormat(page_tokens=2, shape=(SIZE,), dtype=torch.int8)


def opened(world, **options):
    return world.open(**{"put_queue_bytes": QUEUE, **options}).namespace({"m": 1}, SIZE)


def threaded(world, **options):
    """Opened with real background threads."""
    return opened(world, scheduler=None, **options)


def test_accepted_pages_are_there_before_they_are_written(faulty):
    ns = opened(faulty)
    assert faulty.put(ns, range(4)) == [True] * 4
    assert faulty.store.stats().put_pages == 0
    assert faulty.store.stats().queued_pages == 4
    assert ns.contains(faulty.keys(range(5))).tolist() == [True] * 4 + [False]
    assert ns.contains(faulty.keys(range(4)), queued=False).tolist() == [False] * 4
    assert ns.contains_prefix(faulty.keys(range(5))) == 4
    assert faulty.check(ns, [7, 3, 0, 3]) == {0, 3}
    assert not faulty.store.step()
    stats = faulty.store.stats()
    assert (stats.put_pages, stats.queued_pages, stats.queued_bytes, stats.queue_accepted_pages) == (4, 0, 0, 4)
    assert faulty.check(ns, range(5)) == set(range(4))
    assert faulty.store._services.puts.memory.lent_bytes == 0


def test_the_callers_memory_is_free_when_the_put_returns(faulty):
    ns = opened(faulty)
    pages = [bytearray(page) for page in faulty.pages(range(3), SIZE)]
    assert ns.put_many(faulty.keys(range(3)), pages) == [True] * 3
    for page in pages:
        page[:] = bytes(SIZE)
    faulty.store.sync()
    assert faulty.check(ns, range(3)) == {0, 1, 2}


def test_a_full_queue_declines_and_counts_and_takes_the_first(faulty):
    ns = opened(faulty)
    assert faulty.put(ns, range(14)) == [True] * 10 + [False] * 4
    assert faulty.put(ns, [20]) == [False]
    stats = faulty.store.stats()
    assert (stats.queue_accepted_pages, stats.queue_declined_pages, stats.queued_bytes) == (10, 5, QUEUE)
    faulty.store.step()
    assert faulty.put(ns, range(8, 16)) == [True] * 8
    faulty.store.sync()
    assert faulty.check(ns, range(30)) == set(range(16))


def test_a_queue_is_bounded_in_pages_too(faulty):
    ns = opened(faulty, put_queue_pages=3)
    assert faulty.put(ns, range(5)) == [True] * 3 + [False] * 2


def test_sync_covers_what_was_accepted_and_a_crash_takes_the_rest(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(4))
    faulty.store.sync()
    faulty.put(ns, range(4, 8))
    ns = faulty.crash().namespace({"m": 1}, SIZE)
    assert faulty.check(ns, range(8)) == set(range(4))


def test_close_loses_nothing_accepted(faulty):
    faulty.put(opened(faulty), range(10))
    assert faulty.check(faulty.reopen().namespace({"m": 1}, SIZE), range(10)) == set(range(10))


def test_a_deleted_page_does_not_come_back_from_the_queue(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    assert ns.delete_many(faulty.keys([1, 4])) == 2
    assert faulty.check(ns, range(6)) == {0, 2, 3, 5}
    faulty.store.sync()
    assert faulty.check(ns, range(6)) == {0, 2, 3, 5}


def test_what_is_there_already_is_not_queued_again(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(5))
    assert faulty.put(ns, [*range(7), 6]) == [True] * 8
    assert faulty.store.stats().queued_pages == 7
    faulty.store.sync()
    assert faulty.store.stats().put_pages == 7


def test_a_put_may_wait_and_an_absent_queue_is_named(faulty):
    ns = opened(faulty)
    assert ns.put_many(faulty.keys([0]), faulty.pages([0], SIZE), wait=True) == [True]
    assert faulty.store.stats().put_pages == 1
    assert ns.put_many(faulty.keys([1]), faulty.pages([1], SIZE), records={b"r": b"v"}) == [True]
    assert dict(ns.records()) == {b"r": b"v"}
    with pytest.raises(InvalidArgumentError, match="wait=False"):
        ns.put_many(faulty.keys([1]), faulty.pages([1], SIZE), records={b"r": b"v"}, wait=False)
    ns = faulty.reopen().namespace({"m": 1}, SIZE)
    with pytest.raises(InvalidArgumentError, match="put_queue_bytes"):
        ns.put_many(faulty.keys([2]), faulty.pages([2], SIZE), wait=False)
    with pytest.raises(InvalidArgumentError, match="wait"):
        ns.put_many(faulty.keys([2]), faulty.pages([2], SIZE), wait=0)
    for field in ("put_queue_bytes", "put_queue_pages"):
        with pytest.raises(InvalidArgumentError, match=field):
            StoreOptions(**{field: -1})


def test_wrong_pages_are_refused_before_anything_is_accepted(faulty):
    ns = opened(faulty)
    with pytest.raises(InvalidArgumentError):
        ns.put_many(faulty.keys([0, 1]), [bytes(SIZE), bytes(SIZE - 1)])
    assert faulty.store.stats().queued_pages == 0


def test_a_put_does_not_wait_for_a_disk_that_hangs(faulty):
    ns = threaded(faulty)
    faulty.put(ns, [0])
    faulty.store.sync()
    rule = faulty.fs.add(Hang("pwritev", path="*.seg", times=1))
    assert faulty.put(ns, range(1, 4)) == [True] * 3
    assert rule.reached.wait(60)
    assert faulty.put(ns, range(4, 20)) == [True] * 7 + [False] * 9
    assert faulty.check(ns, range(20)) == set(range(11))
    rule.event.set()
    faulty.store.sync()
    assert faulty.check(ns, range(20)) == set(range(11))


def test_a_write_that_fails_loses_its_pages_and_no_others(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    rule = faulty.fs.add(FailOp("pwritev", path="*.seg"))
    faulty.store.step()
    faulty.fs.remove(rule)
    assert faulty.check(ns, range(3)) == set()
    stats = faulty.store.stats()
    assert (stats.declined_pages, stats.queued_pages) == (3, 0)
    faulty.put(ns, range(3))
    faulty.store.sync()
    assert faulty.check(ns, range(3)) == {0, 1, 2}


def test_a_call_that_raises_in_the_worker_is_counted_and_the_worker_goes_on(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    faulty.put(ns, range(3, 6))
    rule = faulty.fs.add(FailOp("sync", path="*.seg"))
    with pytest.raises(Exception, match="sync"):
        faulty.store.sync()
    faulty.fs.remove(rule)
    faulty.put(ns, range(6, 9))
    faulty.store.step()
    assert faulty.store.stats().queue_failed_calls == 1
    assert faulty.store.stats().queued_pages == 0


def test_memory_of_the_queue_is_not_given_back_while_somebody_reads_it(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    queue = faulty.store._services.puts
    with queue.holding(ns.index_keys(faulty.keys([1, 9]))) as here:
        faulty.store.step()
        assert faulty.store._services.puts.memory.lent_bytes
        assert bytes(here[0]) == faulty.page(1, SIZE)
        assert 1 not in here
    assert faulty.store._services.puts.memory.lent_bytes == 0


def test_an_eviction_callback_may_call_the_store_from_the_worker(make_small):
    world, ns = make_small
    told = []

    def gone(keys, sizes):
        told.extend(keys)
        world.store.sync()
        ns.delete_many(keys[:1])

    ns.on_evict(gone)
    accepted = 0
    for start in range(0, 400, 5):
        accepted += sum(ns.put_many(world.keys(range(start, start + 5)), world.pages(range(start, start + 5), SIZE)))
        world.store.sync()
    assert accepted == 400
    assert told
    assert world.check(ns, range(390, 400)) == set(range(390, 400))


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError])
def test_whoever_is_told_ends_no_worker(error):
    world = FaultyWorld()
    ns = threaded(world)
    told = []

    def tell(keys, verdicts):
        told.append(verdicts)
        raise error

    for i in range(3):
        assert ns.offer(world.keys([i]), world.pages([i], SIZE), told=tell).flags == [True]
        world.store.sync()
    assert told == [[True]] * 3
    assert world.store._services.puts.failed_jobs == 3
    world.store.close()


def test_an_owner_that_exits_when_its_pages_are_evicted_ends_no_worker():
    """The worker ended without a word, and whoever waited for the queue waited for ever."""
    world = FaultyWorld(segments=4)
    ns = threaded(world)
    ns.on_evict(lambda keys, sizes: sys.exit("no memory for this"))
    verdicts = []

    def write():
        for i in range(120):
            ns.offer(world.keys([i]), world.pages([i], SIZE), told=lambda _, flags: verdicts.extend(flags))
            world.store.sync()

    Call(write).result()
    assert verdicts == [True] * 120
    assert world.store.stats().callback_errors > 0
    world.store.close()


def test_whoever_is_told_in_the_main_thread_may_end_the_process(faulty):
    """As may a signal that comes meanwhile; nothing waits for what was written then."""
    ns = opened(faulty)
    ns.offer(faulty.keys([1]), faulty.pages([1], SIZE), told=lambda keys, flags: sys.exit("that is all"))
    with pytest.raises(SystemExit, match="that is all"):
        faulty.store.step()
    queue = faulty.store._services.puts
    assert (queue.pages, queue.failed_jobs, queue._worker, queue._finished) == (0, 0, None, queue._tickets)
    assert faulty.check(ns, [1]) == {1}


def test_an_owner_that_exits_in_the_main_thread_ends_the_process(make_small):
    """As would a signal that comes while it is told."""
    world, ns = make_small
    ns.on_evict(lambda keys, sizes: sys.exit("that is all"))
    with pytest.raises(SystemExit, match="that is all"):
        for i in range(400):
            ns.put_many(world.keys([i]), world.pages([i], SIZE), wait=True)


@pytest.fixture(params=["manual", "threads"])
def make_small(request):
    world = FaultyWorld(segments=4)
    ns = opened(world) if request.param == "manual" else threaded(world)
    yield world, ns
    world.store.close()


def test_several_callers_and_close_under_load(tmp_path):
    options = StoreOptions(capacity_bytes=64 << 20, segment_bytes=1 << 20, put_queue_bytes=QUEUE)
    store = PageStore.open(tmp_path / "s", options=options)
    ns = store.namespace({"m": 1}, SIZE)
    accepted: list[set[int]] = [set() for _ in range(4)]
    progress = threading.Semaphore(0)

    def work(n):
        for i in itertools.count(n, 4):
            try:
                if World.put(ns, [i]) == [True]:
                    accepted[n].add(i)
                    progress.release()
                World.check(ns, [i, max(i - 40, 0)])
            except ClosedError:
                return

    calls = [Call(lambda n=n: work(n)) for n in range(4)]
    for _ in range(200):
        assert progress.acquire(timeout=60)
    store.close()
    for call in calls:
        call.result()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("lsmkv")]
    everything = set().union(*accepted)
    with PageStore.open(tmp_path / "s", options=options) as store:
        assert World.check(store.namespace({"m": 1}, SIZE), range(max(everything) + 9)) == everything


def test_a_forked_child_has_no_queue_and_the_parent_goes_on(faulty):
    ns = threaded(faulty)
    rule = faulty.fs.add(Hang("pwritev", path="*.seg", times=1))
    faulty.put(ns, range(3))
    assert rule.reached.wait(60)
    child = os.fork()
    if not child:
        faulty.store.close()
        os._exit(0 if faulty.store._services.puts.holds([b""]) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    rule.event.set()
    faulty.store.sync()
    assert faulty.check(ns, range(3)) == {0, 1, 2}


def tensor_store(world, **options):
    fields = {"capacity_bytes": 16 << 20, "segment_bytes": 256 << 10, "index_bytes": 2 << 20, "put_queue_bytes": QUEUE}
    return TensorStore.open("/t", FMT, namespace="m", options=world.options(**fields, **options))


def page(token: int) -> torch.Tensor:
    return torch.full((SIZE,), token % 127, dtype=torch.int8)


def pages(tokens) -> list[torch.Tensor]:
    return [page(t) for t in tokens[1::2]]


def test_a_tensor_store_answers_from_its_queue(faulty):
    tokens = list(range(16))
    with tensor_store(faulty) as store:
        assert store.put_batch(tokens, pages(tokens)) == 8
        assert store.probe([*tokens, 1, 2]) == 16
        assert all(map(torch.equal, store.get_batch(tokens), pages(tokens)))
        assert store.put_batch(tokens, pages(tokens)) == 0
        assert store.stats().put_pages == 0
        store.sync()
        assert store.stats().put_pages == 8
        assert store.put_batch([*tokens, 5, 6], pages([*tokens, 5, 6]), wait=True) == 1
        assert all(map(torch.equal, store.get_batch(tokens), pages(tokens)))


def test_drop_takes_what_waits_in_the_queue_and_all_below_it(faulty):
    stem = list(range(8))
    with tensor_store(faulty) as store:
        store.put_batch(stem, pages(stem))
        for leaf in (50, 60):
            store.put_batch([*stem, leaf, leaf], [page(leaf)], first_page=4)
        assert store.drop(stem[:4]) == 5
        assert store.probe([*stem, 50, 50]) == 2
        store.sync()
        assert store.probe([*stem, 50, 50]) == 2
        assert store.stats().pages == 1


def test_only_what_fits_of_a_prompt_is_accepted_and_it_is_a_prefix(faulty):
    tokens = list(range(40))
    with tensor_store(faulty) as store:
        assert store.put_batch(tokens, pages(tokens)) == 10
        assert store.probe(tokens) == 20
        store.sync()
        assert store.put_batch(tokens, pages(tokens)) == 10
        store.sync()
        assert store.probe(tokens) == 40
        assert store.drop(tokens[:2]) == 20
        assert store.stats().pages == 0


ACTION = st.tuples(
    st.sampled_from(["put", "put", "step", "sync", "drop", "crash", "close"]), st.integers(0, 5), st.integers(1, 6)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTION, max_size=25))
def test_whatever_happens_the_store_answers_as_if_there_were_no_queue(actions):
    """Against a model: what was put is there unless dropped; a crash may take what was not synced, and nothing else."""
    world = FaultyWorld(segments=60)
    prompts = [[i // 3, i // 3] + [i] * 12 for i in range(6)]  # three pairs that share their first page
    must: set[tuple[int, ...]] = set()
    may: set[tuple[int, ...]] = set()
    ever: set[tuple[int, ...]] = set()  # a power cut may take a drop that was not synced, too
    store = tensor_store(world)
    for what, which, n in actions:
        tokens = prompts[which][: 2 * n]
        paths = [tuple(tokens[: 2 * i + 2]) for i in range(n)]
        if what == "put":
            taken = store.put_batch(tokens, pages(tokens))
            absent = [p for p in paths if p not in may]
            assert taken <= len(absent)
            may |= set(absent[:taken])
            ever |= may
        elif what == "step":
            store.step()
        elif what == "sync":
            store.sync()
            must = set(may)
        elif what == "drop":
            store.drop(tokens)
            gone = {p for p in may if p[: len(tokens)] == tuple(tokens)}
            may -= gone
            must -= gone
        else:
            if what == "close":
                store.close()
                must = set(may)
            world.fs = FaultFileSystem(world.fs.inner.crash(seeded(n)))
            store = tensor_store(world)
            ns = store._namespace  # a place whose bytes did not make it to the disk is forgotten when it is read, also one ...
            out = np.empty((1, ns.page_bytes), np.uint8)  # ... behind a page that is missing, which get_batch would not reach
            found = {p for p in ever if ns.get_into(store._keys(p)[-1:], out)[0]}
            assert must <= found
            may = found
        for tokens in prompts:
            paths = [tuple(tokens[: 2 * i + 2]) for i in range(7)]
            known = next((i for i, p in enumerate(paths) if p not in may), 7)
            assert store.probe(tokens) == 2 * known
            assert all(map(torch.equal, store.get_batch(tokens), pages(tokens[: 2 * known])))
    store.close()


def test_an_unqueued_store_starts_no_worker(faulty):
    faulty.open()
    assert "lsmkv-put" not in faulty.store._services.workers.names
    opened(faulty2 := FaultyWorld())
    assert "lsmkv-put" in faulty2.store._services.workers.names
    faulty2.store.close()


def test_pages_from_spans_are_gathered(faulty):
    ns = opened(faulty)
    whole = np.frombuffer(b"".join(faulty.pages(range(3), SIZE)), np.uint8).reshape(3, SIZE)
    assert ns.put_many(faulty.keys(range(3)), [[p[:7].copy(), p[7:].copy()] for p in whole]) == [True] * 3
    assert faulty.check(ns, range(3)) == {0, 1, 2}
    faulty.store.sync()
    assert faulty.check(ns, range(3)) == {0, 1, 2}


def test_a_dropped_namespace_takes_its_queued_pages_along(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    assert faulty.store.drop_namespace(ns.number) == 3
    assert faulty.check(faulty.store.namespace({"m": 1}, SIZE), range(3)) == set()
    assert faulty.store.stats().pages == 0
