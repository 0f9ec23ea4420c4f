"""Every token that was asked for is a hit or lost for exactly one cause, and the cause is the right one."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.testing import FailOp, FlipByte, Hang
from lsmkv_tensor import PageFormat, TensorStore
from lsmkv_tensor.errors import IOFailedError
from lsmkv_tensor.runtime.calltimes import BOUNDS_S, CallTimes
from lsmkv_tensor.runtime.waterfall import CAUSES, Fates
from tests.tensor_runtime.conftest import SIZE, Call, FaultyWorld

TOKENS = 4
FMT = PageFormat(page_tokens=TOKENS, shape=(SIZE,), dtype=torch.int8)


def opened(world, **options):
    return world.open(**options).namespace({"m": 1, "page_tokens": TOKENS}, SIZE)


def lost(world, call="ask"):
    """Tokens lost by cause, without zeros; the sums are checked."""
    told = world.store.stats().waterfall[call]
    assert told.asked_tokens == told.hit_tokens + sum(told.lost_tokens.values())
    assert set(told.lost_tokens) == set(CAUSES)
    return {cause: tokens for cause, tokens in told.lost_tokens.items() if tokens}


def read(world, ns, ids, **options):
    ids = list(ids)
    return ns.get_into(world.keys(ids), np.zeros((len(ids), SIZE), np.uint8), **options)


def test_hits_and_what_was_never_offered(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    assert ns.contains_prefix(faulty.keys(range(8))) == 3
    assert read(faulty, ns, [0, 2, 9]) == [True, True, False]
    told = faulty.store.stats().waterfall
    assert (told["ask"].asked_tokens, told["ask"].hit_tokens) == (32, 12)
    assert (told["get"].asked_tokens, told["get"].hit_tokens) == (12, 8)
    assert lost(faulty) == {"never_offered": 20}
    assert lost(faulty, "get") == {"never_offered": 4}


def test_pages_of_unknown_tokens_are_counted_as_pages(faulty):
    ns = faulty.open().namespace({"m": 1, "page_tokens": True}, SIZE)
    ns.contains_prefix(faulty.keys(range(8)))
    assert lost(faulty) == {"never_offered": 8}


def test_evicted_pages_are_known_by_their_ghosts_and_those_behind_are_orphaned(faulty):
    ns = opened(faulty)
    gone = []
    ns.on_evict(lambda keys, sizes: gone.extend(keys))
    faulty.put(ns, range(5))
    for start in range(10, 200, 10):
        faulty.put(ns, range(start, start + 10))
        if gone:
            break
    ids = [i for i in range(200) if faulty.key(i) in set(gone)]
    assert ns.contains_prefix(faulty.keys([ids[0], start, 999])) == 0
    assert lost(faulty) == {"evicted": TOKENS, "orphaned": TOKENS, "never_offered": TOKENS}
    assert read(faulty, ns, ids) == [False] * len(ids)
    assert lost(faulty, "get") == {"evicted": TOKENS * len(ids)}
    faulty.put(ns, ids[:1])
    assert read(faulty, ns, ids[:1]) == [True]


def test_declined_by_disk_and_by_queue(faulty):
    ns = opened(faulty)
    faulty.fs.add(FailOp("pwritev", path="*.seg"))
    faulty.put(ns, [0])
    faulty.fs.clear()
    assert ns.contains_prefix(faulty.keys([0])) == 0
    assert lost(faulty) == {"declined": TOKENS}
    ns = opened_again(faulty, put_queue_bytes=2 * SIZE)
    faulty.put(ns, range(5))
    assert ns.contains_prefix(faulty.keys(range(5))) == 2
    assert lost(faulty) == {"declined": 3 * TOKENS}
    faulty.store.step()
    faulty.put(ns, range(5))
    faulty.store.step()
    assert ns.contains_prefix(faulty.keys(range(5))) == 4
    assert lost(faulty) == {"declined": 4 * TOKENS}


def test_declined_while_the_disk_is_left_alone(faulty):
    """Such pages were told never offered."""
    for options in ({}, {"put_queue_bytes": 8 * SIZE}):
        ns = opened_again(faulty, breaker_failures=1, **options)
        faulty.store._services.breaker.failed("write", IOFailedError("write", "x"))
        assert ns.put_many(faulty.keys([0]), faulty.pages([0], SIZE)) == [False]
        faulty.clock.advance(2)
        while faulty.store.step():
            pass
        assert faulty.store.health().state == "ok"
        assert ns.contains_prefix(faulty.keys([0])) == 0
        assert lost(faulty) == {"declined": TOKENS}


def test_a_put_into_the_queue_is_declined_where_the_index_cannot_be_read(faulty):
    """It raised, and the breaker did not hear of it."""
    settings = {"put_queue_bytes": 8 * SIZE, "breaker_failures": 2}
    ns = opened(faulty, **settings)
    ns.put_many(faulty.keys([0]), faulty.pages([0], SIZE), wait=True)
    ns = opened_again(faulty, block_cache_bytes=0, **settings)
    faulty.fs.add(FailOp("pread", path="*.sst"))
    for state in ("ok", "failing"):
        assert ns.put_many(faulty.keys([0]), faulty.pages([0], SIZE)) == [False]
        assert faulty.store.health().state == state


def opened_again(world, **options):
    if world.store is not None:
        world.store.close()
    return opened(world, **options)


def test_dropped_by_its_owner(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(3))
    ns.delete_many(faulty.keys([1]))
    assert ns.contains_prefix(faulty.keys(range(3))) == 1
    assert lost(faulty) == {"dropped": TOKENS, "orphaned": TOKENS}


def test_corrupt_and_unreadable(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(6))
    rule = faulty.fs.add(FlipByte(path="*.seg", offset=3 * 4096 + 100))
    assert sum(read(faulty, ns, range(6))) == 5
    faulty.fs.remove(rule)
    assert lost(faulty, "get") == {"corrupt": TOKENS}
    assert sum(read(faulty, ns, range(6))) == 5
    assert lost(faulty, "get") == {"corrupt": 2 * TOKENS}
    faulty.fs.add(FailOp("preadv", path="*.seg"))
    assert read(faulty, ns, [0, 9]) == [False] * 2
    assert lost(faulty, "get") == {"corrupt": 3 * TOKENS, "never_offered": TOKENS}


def test_late_reads_and_late_answers(faulty):
    ns = opened(faulty)
    faulty.put(ns, range(4))
    rule = faulty.fs.add(Hang("preadv", path="*.seg"))
    call = Call(lambda: read(faulty, ns, range(4), deadline_s=9))
    assert rule.reached.wait(60)
    faulty.clock.advance(10)
    assert call.result() == [False] * 4
    assert lost(faulty, "get") == {"late": 4 * TOKENS}
    assert ns.contains_prefix(faulty.keys(range(4)), deadline_s=0) == 0
    assert lost(faulty) == {"late": 4 * TOKENS}
    rule.event.set()


def test_what_the_breaker_answers(faulty):
    ns = opened(faulty, breaker_failures=1)
    faulty.put(ns, range(4))
    faulty.fs.add(FailOp("pwritev", path="*.seg"))
    faulty.put(ns, [9])
    assert ns.contains_prefix(faulty.keys(range(4))) == 0
    assert read(faulty, ns, range(2)) == [False] * 2
    assert lost(faulty) == {"breaker": 4 * TOKENS}
    assert lost(faulty, "get") == {"breaker": 2 * TOKENS}


ACTION = st.tuples(
    st.sampled_from(["put", "put", "probe", "get", "get", "drop", "step", "fail", "flip", "mend", "late", "burst"]),
    st.integers(0, 3),
    st.integers(1, 8),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTION, max_size=30), st.booleans())
def test_whatever_happens_hits_and_losses_are_what_was_asked_for(actions, queued):
    world = FaultyWorld(segments=4)
    options = world.options(breaker_failures=2, put_queue_bytes=6 * SIZE if queued else 0)
    asked = {"ask": 0, "get": 0}
    with TensorStore.open("/t", FMT, namespace="m", options=options) as store:
        for what, which, n in actions:
            tokens = [which] * (n * TOKENS)
            if what == "put":
                store.put_batch(tokens, torch.zeros(n, SIZE, dtype=torch.int8))
            elif what == "burst":
                store.put_batch([100 + which, n] * 28, torch.zeros(14, SIZE, dtype=torch.int8))
            elif what == "probe":
                store.probe(tokens)
                asked["ask"] += n * TOKENS
            elif what in ("get", "late"):
                buffers = [bytearray(SIZE) for _ in range(n)]
                store.get_into(tokens, buffers, deadline_s=0 if what == "late" else None)
                asked["get"] += n * TOKENS
            elif what == "fail":
                world.fs.add(FailOp("preadv" if n % 2 else "pwritev", path="*.seg", times=n))
            elif what == "flip":
                world.fs.add(FlipByte(path="*.seg", offset=n * 4096 + which))
            elif what == "mend":
                world.fs.clear()
                world.clock.advance(100)
            elif what == "step":
                store.step()
            elif not store.health().reasons:
                world.fs.clear()
                store.drop(tokens)
        for call, told in store.stats().waterfall.items():
            assert told.asked_tokens == asked[call]
            assert told.hit_tokens + sum(told.lost_tokens.values()) == asked[call]
            assert min(told.lost_tokens.values()) >= 0
        world.fs.clear()


def test_the_oldest_fates_are_forgotten():
    fates = Fates(limit=3)
    keys = [bytes(24) + i.to_bytes(8, "big") for i in range(5)]
    fates.note(keys[:3], "evicted")
    fates.note(keys[:1], "dropped")
    fates.note(keys[3:4], "declined")
    assert [fates.of(key) for key in keys] == ["dropped", "never_offered", "evicted", "declined", "never_offered"]
    fates.stored(keys[:1])
    assert fates.of(keys[0]) == "never_offered"
    assert len(fates) == 2


@given(st.lists(st.floats(0, 20), max_size=50))
def test_every_call_is_in_one_bucket(seconds):
    times = CallTimes(("a", "b"))
    for value in seconds:
        times.note("a", value)
    told = times.told()
    assert told["a"].calls == sum(told["a"].buckets) == len(seconds)
    for i, bound in enumerate(BOUNDS_S):
        assert sum(told["a"].buckets[: i + 1]) == sum(value <= bound for value in seconds)
    assert told["b"].calls == 0


def test_calls_are_timed_by_the_clock(faulty):
    ns = opened(faulty)
    faulty.fs.inner.on_op = lambda op, path: faulty.clock.advance(0.03) if op == "pwritev" and path.endswith(".seg") else None
    faulty.put(ns, [0])
    faulty.fs.inner.on_op = None
    ns.contains_prefix(faulty.keys([0]))
    times = faulty.store.stats().times
    assert times["write"].calls == 1
    assert times["write"].seconds >= 0.03
    assert times["ask"].calls == 1
