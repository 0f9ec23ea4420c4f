"""Lookups of one page are accounted for once each, as what they were, whoever looks at the accounts meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, defaultdict
from random import Random

import pytest

from lsmkv.testing import FailOp, FaultFileSystem, MemoryFileSystem
from lsmkv_tensor.errors import PoisonedError
from lsmkv_tensor.retention.touches import ASK, READ, STORE, request_id
from lsmkv_tensor.runtime.callers import working_for
from lsmkv_tensor.runtime.calltimes import CallTimes
from lsmkv_tensor.runtime.quickasks import MOST_WAITING, QuickAsks, View
from lsmkv_tensor.runtime.waterfall import Waterfall
from tests.tensor_pages.conftest import World

SIZE = 1000
PAGES = 6
ROUNDS = 4
CALLS = 400


def views(store, number=3):
    """Namespaces whose pages cover 1, 2, 4, ... tokens and are all known."""
    found = [store.namespace({"m": i, "page_tokens": 2**i}, SIZE) for i in range(number)]
    for ns in found:
        World.put(ns, range(PAGES))
    while store.step():
        pass
    return found


def taken(store):
    """What waits for the policy, as (kind, index keys) by caller."""
    found = defaultdict(list)
    with store._log.lock:
        notes = store._keeper.touches.take(1 << 30)
    for note in notes:
        found[note.thread].append((note.kind, [note.prefix + key for key in note.keys]))
    return found


def in_a_thread(work):
    """Have it done by another thread."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_who_works_for_a_thread_does_not_change_where_that_one_appends(world):
    """A thread looked at its queue, another asked for it elsewhere, and the page of the first was accounted for there."""
    store = world.open()
    here, _, there = views(store)
    assert here.found_one(World.key(0))
    own = threading.get_ident()
    queue = store._services.quick.threads[own]

    def ask():
        with working_for(own):
            assert there.found_one(World.key(1))

    began = store.stats().waterfall["ask"].asked_tokens
    taken(store)
    assert here.found_one(World.key(2))
    in_a_thread(ask)
    queue.append(World.key(3))
    assert taken(store)[own] == [
        (ASK, [ns._prefix + World.key(page)]) for ns, page in ((here, 2), (there, 1), (here, 3))
    ]  # fmt: skip
    assert store.stats().waterfall["ask"].asked_tokens - began == 1 + 4 + 1


def test_what_a_thread_does_next_is_behind_what_is_being_accounted_for():
    """Its queue was found empty, as somebody had taken the pages out and not noted them yet."""
    quick, order = QuickAsks(Waterfall(), CallTimes(("ask",))), []
    begun, ended = threading.Event(), threading.Event()

    def go_on():
        begun.set()
        quick.settle_own(7)
        order.append("next")
        ended.set()

    other = threading.Thread(target=go_on)

    def note(thread, pages):
        other.start()
        begun.wait(9)
        ended.wait(0.05)  # it does not come so far
        order.append((thread, pages))

    quick.first(7, View(1, note), b"page", 0.0)
    quick.settle()
    other.join()
    assert order == [(7, [b"page"]), "next"]


def test_what_a_thread_stores_is_behind_what_it_asked_for(world):
    store = world.open()
    here, there, _ = views(store)
    taken(store)
    assert here.found_one(World.key(0))
    assert there.found_one(World.key(1))
    assert World.put(here, [PAGES]) == [True]
    assert taken(store)[threading.get_ident()] == [
        (kind, [ns._prefix + World.key(page)]) for kind, ns, page in ((ASK, here, 0), (ASK, there, 1), (STORE, here, PAGES))
    ]


@pytest.mark.parametrize("give", [bytes, bytes.hex, bytearray])
def test_a_prefix_of_one_page_is_a_lookup_of_one_page(world, give):
    """Where its page key is at hand: it is given, or was made of the same text before."""
    store = world.open()
    here, _, _ = views(store)
    assert here.contains_prefix([give(World.key(1))]) == 1
    taken(store)
    assert [here.contains_prefix([give(World.key(1))]) for _ in range(3)] == [1] * 3
    assert len(store._services.quick.threads.get(threading.get_ident(), ())) == (0 if give is bytearray else 3)
    assert taken(store)[threading.get_ident()] == [(ASK, [here._prefix + World.key(1)])] * 3


def test_what_is_asked_alone_takes_about_as_long_as_the_first_that_waits():
    times = CallTimes(("ask",))
    quick = QuickAsks(Waterfall(), times)
    quick.first(1, View(1, lambda *_: None), b"page", 0.25)
    quick.threads[1].extend([b"page"] * 3)
    told = times.told()["ask"]
    assert (told.calls, told.seconds) == (4, 1.0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_a_forked_child_nothing_waits_and_nothing_is_held(world):
    """The parent accounts for what it asked, and a child is not kept by a lock that a thread of the parent holds."""
    store = world.open()
    here, _, _ = views(store)
    began = store.stats().waterfall["ask"].asked_tokens
    assert all(here.found_one(World.key(page)) for page in range(3))
    quick = store._services.quick
    with quick._lock:
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            ok = not here.found_one(World.key(0)) and not quick.threads
            quick.settle()
            os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.stats().waterfall["ask"].asked_tokens - began == 3


def test_all_that_waits_is_told_when_a_store_reopens_itself():
    world = World(FaultFileSystem(MemoryFileSystem()))
    store = world.open(eviction="lru", breaker_failures=3)
    here, _, there = views(store)
    asked = store.stats().waterfall["ask"].asked_tokens
    told = []
    store._keeper.watch = lambda slots, _: told.extend(slots.tolist())
    assert all(ns.found_one(World.key(0)) for ns in (here, here, there, here))
    world.fs.add(FailOp("sync", path="*.seg", times=1))
    World.put(here, [PAGES])
    with pytest.raises(PoisonedError):
        store.sync()
    assert here.found_one(World.key(1))
    before, touches = here.found_one, store._keeper.touches
    store.step()
    assert store.health().state == "ok"
    assert here.found_one is not before
    assert not touches.notes
    assert len(told) >= 4
    while store.step():
        pass
    taken(store)
    assert here.contains_prefix(World.keys([0])) == 1
    assert here.found_one(World.key(0))
    assert store.stats().waterfall["ask"].asked_tokens - asked == 3 + 4 + 1 + 2
    assert taken(store)[threading.get_ident()] == [(ASK, [here._prefix + World.key(0)])] * 2
    store.close()


class Asking(threading.Thread):
    """A thread that calls at random, and keeps its own account."""

    def __init__(self, seed, spaces, sequences, others):
        super().__init__()
        self.rng = Random(seed)
        self.spaces, self.sequences, self.others = spaces, sequences, others
        self.tokens, self.calls, self.failed = 0, 0, None
        self.for_others = Counter()

    def run(self):
        try:
            mine = self.sequences[threading.get_ident()]
            self.others.append(threading.get_ident())
            for _ in range(CALLS):
                self.call(mine)
        except BaseException as error:  # raised where the thread is joined
            self.failed = error

    def call(self, mine):
        rng = self.rng
        view = rng.choice(self.spaces) if rng.random() < 0.2 else self.spaces[0]
        pages = [rng.randrange(PAGES)]
        kind, caller, went = ASK, None, rng.random()
        if went < 0.7:
            assert view.found_one(World.key(pages[0]))
        elif went < 0.75:
            assert not view.found_one(World.key(PAGES + 1))
            return
        elif went < 0.8:
            pages = rng.sample(range(PAGES), 2)
            assert view.found_at_once(World.keys(pages))
        elif went < 0.85:
            assert view.contains_prefix(World.keys(pages)) == 1
        elif went < 0.9:
            kind = READ
            assert World.check(view, pages) == set(pages)
        else:
            caller = request_id() if went < 0.95 else rng.choice(self.others)
            with working_for(caller):
                assert view.found_one(World.key(pages[0]))
        note = (kind, [view._prefix + World.key(page) for page in pages])
        if caller is None:
            mine.append(note)
        else:
            self.for_others[caller, note[1][0]] += 1
        if kind == ASK:
            self.tokens += len(pages) * view._tokens
            self.calls += 1


@pytest.mark.parametrize("seed", range(2))
def test_random_calls_of_many_threads_beside_whoever_looks_at_the_accounts(world, seed):
    """Each call is told once, of its caller and its view; the calls of a thread in their order."""
    store = world.open()
    spaces, sequences, found, others = views(store), defaultdict(list), defaultdict(list), []
    began, over = store.stats(), threading.Event()
    taken(store)

    def look():
        rng = Random(seed)
        while not over.is_set():
            what = rng.random()
            if what < 0.5:
                for caller, notes in taken(store).items():
                    found[caller] += notes
            elif what < 0.75:
                store._services.waterfall.told()
            else:
                store._services.times.told()
            assert all(len(queue) <= MOST_WAITING for queue in list(store._services.quick.threads.values()))

    looking = threading.Thread(target=look)
    looking.start()
    done = []
    try:
        for round_ in range(ROUNDS):  # numbers of threads that have ended are used again
            threads = [Asking(1000 * seed + 10 * round_ + i, spaces, sequences, others) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            done += threads
    finally:
        over.set()
        looking.join()
    assert [thread.failed for thread in done] == [None] * len(done)
    for caller, notes in taken(store).items():
        found[caller] += notes
    now = store.stats()
    asked = now.waterfall["ask"]
    assert asked.asked_tokens - began.waterfall["ask"].asked_tokens == sum(thread.tokens for thread in done)
    assert asked.hit_tokens == asked.asked_tokens
    assert now.times["ask"].calls - began.times["ask"].calls == sum(thread.calls for thread in done)
    assert store._keeper.touches.lost == 0
    guests = sum((thread.for_others for thread in done), Counter())
    assert_told(found, sequences, guests)
    store.close()


def assert_told(found, sequences, guests):
    """What was told of each caller is what it did, in order, and what others did for it, somewhere in between."""
    for caller in found.keys() | sequences.keys():
        own, told = sequences.get(caller, []), found.get(caller, [])
        total = Counter(map(repr, told))
        total.subtract(map(repr, own))
        total.subtract({repr((ASK, [key])): count for (whose, key), count in guests.items() if whose == caller})
        assert not any(total.values())
        rest = iter(told)
        assert all(note in rest for note in own)
