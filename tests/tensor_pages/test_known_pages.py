"""What is said of pages from memory is what the index says, whatever happened to them; and it is said without the index."""

from __future__ import annotations

import hashlib
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lsmkv.testing import FailOp, FaultFileSystem, Hang, ManualClock, MemoryFileSystem
from lsmkv_tensor.errors import ClosedError, PoisonedError
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.retention.known import KnownPages
from lsmkv_tensor.retention.touches import ASK, FIRST_REQUEST, MAX_WAITING, READ
from lsmkv_tensor.runtime.callers import working_for
from lsmkv_tensor.runtime.quickasks import MOST_THREADS, MOST_WAITING, View
from lsmkv_tensor.vlog.changes import DRAIN_KEYS
from lsmkv_tensor.vlog.layout import has_ended
from tests.tensor_pages.conftest import PATH, World

SIZE = 6000
PAGES = range(40)
IDS = st.lists(st.sampled_from(PAGES), min_size=1, max_size=8, unique=True)


def names(ids):
    """The keys of pages as an engine gives them: hexadecimal text."""
    return [hashlib.sha256(b"key %d" % i).hexdigest() for i in ids]


class Clocked(World):
    """A world whose disk takes fault rules and whose clock the test moves; its stores know few pages."""

    limit = 24

    def __init__(self):
        super().__init__(FaultFileSystem(MemoryFileSystem()))
        self.clock = ManualClock()

    def options(self, **changes):
        return super().options(**{"clock": self.clock, "known_pages": self.limit, **changes})

    def crash(self, rng=None):
        self.fs = FaultFileSystem(self.fs.inner.crash(rng))
        return self.open()


def said_of_one(store, ns, key):
    """What is said of one page, whatever waits: a call with nothing of its view before it does more than the others."""
    quick = store._services.quick
    quick.settle()
    said = {ns.found_one(key)}
    waiting = quick.threads.get(threading.get_ident())
    if waiting is not None:
        waiting.append(key)
        said.add(ns.found_one(key))
        waiting.clear()
    return said


def indexed(ns, ids):
    """Which pages the index has, asked past everything that is remembered."""
    now = ns._log.minute()
    values = ns._log.db.get_many(ns.index_keys(World.keys(ids)))
    return [value is not None and not has_ended(value, now) for value in values]


class Lookups(RuleBasedStateMachine):
    """Two namespaces, one of whose pages may end, on a store that evicts."""

    @initialize(fill=st.booleans())
    def begin(self, fill):
        self.world = Clocked()
        self.fill = fill
        self.store = self.world.open()
        self.views()

    def views(self):
        self.spaces = [self.store.namespace({"m": 1}, SIZE), self.store.namespace({"m": 2}, SIZE)]
        if self.fill:
            while self.store.step():
                pass

    @rule(ids=IDS, space=st.integers(0, 1), ttl=st.sampled_from([None, None, 90.0]))
    def put(self, ids, space, ttl):
        ns = self.spaces[space]
        ns.put_many(World.keys(ids), World.pages(ids, SIZE), ttl_s=ttl if space else None)

    @rule(ids=IDS, space=st.integers(0, 1))
    def delete(self, ids, space):
        self.spaces[space].delete_many(World.keys(ids))

    @rule(ids=IDS, space=st.integers(0, 1))
    def read(self, ids, space):
        assert World.check(self.spaces[space], ids) <= set(ids)

    @rule(ids=IDS, space=st.integers(0, 1))
    def read_with_a_failing_disk(self, ids, space):
        self.world.fs.add(FailOp("preadv", path="*.seg"))
        World.check(self.spaces[space], ids)
        self.world.fs.clear()

    @rule(ids=IDS)
    def damage(self, ids):
        """Flip a bit of each page, and have that noticed."""
        for name in self.world.fs.listdir(f"{PATH}/vlog"):
            file = self.world.fs.open(f"{PATH}/vlog/{name}", "rw")
            data = bytes(file.pread(file.size(), 0))
            for page in World.pages(ids, SIZE):
                if (at := data.find(page)) >= 0:
                    file.pwritev([bytes([page[9] ^ 1])], at + 9)
            file.close()
        for ns in self.spaces:
            World.check(ns, ids)

    @rule(seconds=st.sampled_from([30.0, 120.0]))
    def wait(self, seconds):
        self.world.clock.advance(seconds)

    @rule()
    def collect(self):
        self.store.gc(max_live=0.9)

    @rule()
    def work(self):
        self.store.step()

    @rule(space=st.integers(0, 1))
    def drop(self, space):
        old = self.spaces[space]
        self.store.drop_namespace(old.number)
        assert old.contains_prefix(World.keys(PAGES)) == 0
        assert not old.known(World.keys([0]))
        self.spaces[space] = self.store.namespace({"m": 1 + space}, SIZE)

    @rule()
    def reopen(self):
        old = self.spaces
        self.store = self.world.reopen()
        for ns in old:
            with pytest.raises(ClosedError):
                ns.contains_prefix(World.keys([0]))
            assert not ns.known(World.keys([0]))
            assert not ns.found_at_once(World.keys([0]))
            assert said_of_one(self.store, ns, World.key(0)) == {False}
        self.views()

    @rule()
    @precondition(lambda self: self.store is not None)
    def crash(self):
        self.store.sync()
        self.store = self.world.crash()
        self.views()

    @invariant()
    def answers_agree_with_the_index(self):
        if not hasattr(self, "spaces"):
            return
        for ns in self.spaces:
            truth = indexed(ns, PAGES)
            for given in (World.keys(PAGES), names(PAGES), [bytearray(key) for key in World.keys(PAGES)]):
                assert all(there or not ns.known([key]) for key, there in zip(given, truth, strict=True))
                assert ns.contains(given).tolist() == truth
                leading = truth.index(False) if False in truth else len(truth)
                assert ns.contains_prefix(given) == leading
                assert ns.contains_prefix(given[leading:]) == 0
            assert all(ns.found_one(key) == ns.found_at_once([key]) == ns.known([key]) for key in World.keys(PAGES))
            assert ns.found_at_once(World.keys(PAGES)) == ns.known(World.keys(PAGES))
        known = self.store._keeper.known
        assert len(known) == sum(len(known.of(ns._prefix)) for ns in self.spaces) <= Clocked.limit

    def teardown(self):
        if hasattr(self, "store"):
            self.world.fs.clear()
            self.store.close()


TestLookups = Lookups.TestCase
TestLookups.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.fixture
def clocked():
    world = Clocked()
    yield world
    world.fs.clear()
    world.store.close()


def index_reads(world):
    """A rule that counts what is read of the index's tables."""
    rule = Hang("pread", path="*.sst")
    rule.event.set()
    return world.fs.add(rule)


@pytest.mark.parametrize("give", [World.keys, names])
def test_what_was_put_is_looked_up_without_the_index_and_without_a_thread(clocked, give):
    ns = clocked.open(io_timeout_s=5.0, block_cache_bytes=0).namespace({"m": 1}, SIZE)
    World.put(ns, range(10))
    clocked.store._db.flush()
    began = clocked.store._services.attempts._threads
    reads = index_reads(clocked)
    assert ns.contains_prefix(give(range(10))) == 10
    assert ns.contains(give([7, 3, 3])).all()
    assert clocked.fs.hits(reads) == 0
    assert clocked.store._services.attempts._threads == began
    assert ns.contains_prefix(give(range(11))) == 10
    assert clocked.store._services.attempts._threads > 0


def test_what_was_found_in_the_index_once_is_known_then(clocked):
    ns = clocked.open().namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    ns = clocked.reopen(block_cache_bytes=0).namespace({"m": 1}, SIZE)
    assert not ns.known(World.keys([0]))
    assert ns.contains_prefix(names(range(3))) == 3
    assert ns.contains(World.keys([3])).all()
    reads = index_reads(clocked)
    assert ns.contains_prefix(names(range(4))) == 4
    assert clocked.fs.hits(reads) == 0


def test_what_a_store_holds_is_known_when_it_was_read_after_opening(clocked):
    ns = clocked.open().namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    ns = clocked.reopen().namespace({"m": 1}, SIZE)
    while clocked.store.step():
        pass
    assert ns.known(names(range(4)))


@pytest.mark.parametrize(
    "ask",
    [
        Namespace.contains_prefix,
        lambda ns, keys: 4 * ns.found_at_once(keys),
        lambda ns, keys: sum(map(ns.found_one, keys)),
        lambda ns, keys: sum(ns.contains_prefix([key]) for key in keys),
        lambda ns, keys: sum(ns.contains_prefix([key]) for key in names(range(len(keys)))),
    ],
)
def test_retention_and_the_account_hear_of_what_is_answered_from_memory(clocked, ask):
    ns = clocked.open(eviction="lru").namespace({"m": 1, "page_tokens": 16}, SIZE)
    World.put(ns, range(4))
    clocked.store._log.keeper.fill()
    for i in range(10, 130):
        assert ns.known(World.keys(range(4)))
        assert ask(ns, World.keys(range(4))) == 4
        World.put(ns, [i])
    stats = clocked.store.stats()
    assert stats.evicted_pages > 50
    asked = stats.waterfall["ask"]
    assert asked.asked_tokens == asked.hit_tokens == 120 * 4 * 16
    assert stats.times["ask"].calls >= 120


def test_nothing_is_said_from_memory_while_the_disk_is_left_alone(clocked):
    ns = clocked.open(breaker_failures=2).namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    breaker = clocked.store._services.breaker
    assert said_of_one(clocked.store, ns, World.key(1)) == {True}
    clocked.fs.add(FailOp("preadv", path="*.seg"))
    for _ in range(3):
        World.check(ns, [0])
    assert breaker.open
    assert not ns.known(World.keys([1]))
    assert not ns.found_at_once(World.keys([1]))
    assert said_of_one(clocked.store, ns, World.key(1)) == {False}
    assert ns.contains_prefix(World.keys([1])) == 0
    clocked.fs.clear()


def test_nothing_is_said_from_memory_once_pages_of_a_namespace_may_end(clocked):
    store = clocked.open()
    ns, other = (store.namespace({"m": i}, SIZE) for i in range(2))
    for view in (other, ns):
        World.put(view, range(2))
        assert said_of_one(store, view, World.key(0)) == {True}
    ns.put_many(World.keys([2]), World.pages([2], SIZE), ttl_s=90.0)
    assert said_of_one(store, ns, World.key(0)) == {False}
    assert not ns.found_at_once(World.keys([0]))
    assert ns.contains_prefix(World.keys([0])) == 1
    assert said_of_one(store, other, World.key(0)) == {True}


def test_nothing_is_said_from_memory_of_a_closed_store(clocked):
    store = clocked.open()
    ns = store.namespace({"m": 1}, SIZE)
    World.put(ns, [1])
    assert said_of_one(store, ns, World.key(1)) == {True}
    store.close()
    assert said_of_one(store, ns, World.key(1)) == {False}
    assert not ns.found_at_once(World.keys([1]))


def test_lookups_of_one_page_wait_in_bounded_memory_and_the_background_is_woken(clocked):
    store = clocked.open()
    ns = store.namespace({"m": 1}, SIZE)
    World.put(ns, [1])
    woken, touches = [], store._keeper.touches
    store._log.on_many_touches = lambda: woken.append(touches.waiting)
    assert all(ns.found_one(World.key(1)) for _ in range(MAX_WAITING + 1000))
    assert touches.notes <= MAX_WAITING + MOST_WAITING
    assert touches.waiting == touches.notes
    assert touches.lost > 700
    assert DRAIN_KEYS <= woken[0] <= DRAIN_KEYS + MOST_WAITING


def test_what_is_found_at_once_is_counted_now_and_then_and_waits_in_bounded_memory(clocked):
    store = clocked.open()
    ns = store.namespace({"m": 1, "page_tokens": 16}, SIZE)
    World.put(ns, range(2))
    services = store._services
    before = store.stats().times["ask"].calls
    for i in range(3 * MOST_WAITING):
        if i < 2 * MOST_WAITING:
            assert ns.found_at_once(World.keys(range(2)))
        assert not ns.found_at_once(World.keys([1, 2]))
        assert ns.found_one(World.key(1))
        assert not ns.found_one(World.key(2))
        assert len(services.quick.threads[threading.get_ident()]) <= MOST_WAITING
        if i < MOST_WAITING + 9:  # somebody reads the one account and not the other
            services.waterfall.told()
        elif i < MOST_WAITING + 99:
            services.times.told()
    stats = store.stats()
    assert stats.waterfall["ask"].asked_tokens == stats.waterfall["ask"].hit_tokens == 7 * MOST_WAITING * 16
    assert stats.times["ask"].calls == sum(stats.times["ask"].buckets) == before + 5 * MOST_WAITING
    assert store._keeper.touches.waiting == 7 * MOST_WAITING


def test_lookups_of_one_page_are_of_the_thread_and_the_view_that_asked_and_before_what_it_did_next(clocked):
    store = clocked.open()
    views = [store.namespace({"m": i, "page_tokens": 2**i}, SIZE) for i in range(3)]
    for ns in views:
        World.put(ns, range(2))
    touches = store._keeper.touches
    touches.take(MAX_WAITING)
    began = store.stats().waterfall["ask"].asked_tokens

    both = threading.Barrier(2)

    def ask():
        both.wait(9)
        for ns, page in ((views[0], 0), (views[0], 1), (views[2], 1), (views[1], 0)):
            assert ns.found_one(World.key(page))
        assert World.check(views[1], [1]) == {1}
        assert views[1].found_one(World.key(1))
        both.wait(9)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with working_for(7):
        assert views[0].found_one(World.key(0))
        assert said_of_one(store, views[0], World.key(0)) == {True}
    found = {thread.ident: [] for thread in threads} | {7: []}
    for note in touches.take(MAX_WAITING):
        found[note.thread].append((note.kind, note.prefix + note.keys[0]))
    of = lambda view, page: views[view]._prefix + World.key(page)  # noqa: E731 - an index key
    each = [(ASK, of(0, 0)), (ASK, of(0, 1)), (ASK, of(2, 1)), (ASK, of(1, 0)), (READ, of(1, 1)), (ASK, of(1, 1))]
    assert list(found.values()) == [each, each, [(ASK, of(0, 0))] * 2]
    assert store.stats().waterfall["ask"].asked_tokens - began == 2 * (1 + 1 + 4 + 2 + 2) + 2


def test_threads_beyond_a_number_are_accounted_for_at_once(clocked):
    store = clocked.open()
    ns = store.namespace({"m": 1}, SIZE)
    World.put(ns, [1])
    quick, touches = store._services.quick, store._keeper.touches
    for thread in range(MOST_THREADS - 1):
        quick.first(thread, View(1, lambda _, pages: touches.note_asks(1, pages, b"0001")), World.key(1), 0.0)
    for request in range(9):
        with working_for(FIRST_REQUEST + request):
            assert ns.found_one(World.key(1))
    assert touches.waiting == 9, "they are of nobody who asks again"
    assert ns.found_one(World.key(1))
    other = threading.Thread(target=ns.found_one, args=(World.key(1),))
    other.start()
    other.join()
    assert touches.waiting == 10
    assert len(quick.threads) == MOST_THREADS
    assert touches.notes == touches.waiting == MOST_THREADS + 10


def test_a_page_that_could_not_be_read_is_looked_for_in_the_index(clocked):
    ns = clocked.open().namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    clocked.fs.add(FailOp("preadv", path="*.seg"))
    assert World.check(ns, [1]) == set()
    clocked.fs.clear()
    assert [ns.known([key]) for key in World.keys(range(4))] == [True, False, True, True]
    assert ns.contains_prefix(World.keys(range(4))) == 4
    assert ns.known(World.keys(range(4)))


def test_one_key_is_no_sequence_of_keys(clocked):
    ns = clocked.open().namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    ns.put_many(["a"], World.pages([9], SIZE))
    assert ns.contains_prefix(["a"]) == 1
    for key in (World.key(0), names([0])[0], "a"):
        with pytest.raises(ValueError, match="not one"):
            ns.contains_prefix(key)
    assert ns.contains_prefix([]) == 0


def test_what_is_lost_while_a_lookup_is_on_its_way_is_not_known_by_it():
    known = KnownPages(10)
    before = known.losses
    known.lose([b"nmsp" + b"k" * 28])
    known.found(b"nmsp", [b"k" * 28], before)
    assert len(known) == 0
    known.found(b"nmsp", [b"k" * 28], known.losses)
    assert known.of(b"nmsp") == {b"k" * 28}


def test_it_is_bounded_whatever_comes_at_once():
    known = KnownPages(10)
    keys = [b"sp%02d" % (i % 3) + b"%028d" % i for i in range(100)]
    known.add(keys)
    assert len(known) == 10 == sum(len(known.of(b"sp%02d" % s)) for s in range(3))
    known.add([b"sp09" + b"%028d" % i for i in range(100)], spare=True)
    assert len(known.of(b"sp09")) == 0
    known.lose(keys)
    assert len(known) == 0
    known.add(keys[:4], spare=True)
    assert len(known) == 4
    nothing = KnownPages(0)
    nothing.add(keys)
    nothing.found(b"sp00", keys, 0)
    assert len(nothing) == 0


def test_lookups_in_many_threads_beside_evictions(clocked):
    """A page that nobody evicts is there for everybody, all the time."""
    ns = clocked.open().namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    ns.pin(World.keys(range(4)))
    wrong = []

    def look():
        wrong.extend(i for i in range(200) if ns.contains_prefix(names(range(4))) != 4)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(10, 90):
        World.put(ns, [i])
    for thread in threads:
        thread.join()
    assert not wrong
    assert clocked.store.stats().evicted_pages > 0
    known = [ns.known([key]) for key in World.keys(range(90))]
    assert any(known[4:])
    assert not any(said and not there for said, there in zip(known, indexed(ns, range(90)), strict=True))


def test_a_store_that_reopened_itself_answers_with_what_it_holds_then(clocked):
    ns = clocked.open(breaker_failures=3).namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    clocked.fs.add(FailOp("sync", path="*.seg", times=1))
    with pytest.raises(PoisonedError):
        clocked.store.sync()
    assert ns.known(names(range(4)))  # what is there goes on being read
    before = clocked.store._keeper.known
    clocked.store.step()
    assert clocked.store.health().state == "ok"
    assert clocked.store._keeper.known is not before
    assert ns.contains_prefix(names(range(4))) == 4
    assert ns.known(names(range(4)))


def test_a_store_that_cannot_be_reopened_says_nothing_from_memory(clocked):
    ns = clocked.open(breaker_failures=3).namespace({"m": 1}, SIZE)
    World.put(ns, range(4))
    clocked.fs.add(FailOp("sync", path="*.seg", times=1))
    with pytest.raises(PoisonedError):
        clocked.store.sync()
    clocked.fs.add(FailOp("lock"))
    clocked.store.step()
    assert not ns.known(World.keys(range(4)))
    assert ns.contains_prefix(World.keys(range(4))) == 0
    clocked.fs.clear()
    clocked.clock.advance(61)
    clocked.store.step()
    assert ns.contains_prefix(World.keys(range(4))) == 4


def test_pages_of_another_process_are_never_known(clocked):
    store = PageStore.open("/root", options=clocked.options(), member="a")
    World.put(store.namespace({"m": 1}, SIZE), range(3))
    store.sync()
    clocked.store = PageStore.open("/root", options=clocked.options(), member="b")
    ns = clocked.store.namespace({"m": 1}, SIZE)
    assert ns.contains_prefix(World.keys(range(3))) == 3
    assert not ns.known(World.keys([0]))
    store.namespace({"m": 1}, SIZE).delete_many(World.keys([1]))
    store.sync()
    clocked.clock.advance(60)
    assert ns.contains_prefix(World.keys(range(3))) == 1
    store.close()
