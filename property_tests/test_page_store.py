"""The page store against a dict of pages: whatever happens in whatever order, every delivered byte is right.

The dict says what was put last under each key. A page may be missing (evicted, lost with unsynced data), never wrong; pages
present at a sync are there after a power cut unless deleted or evicted since; pinned pages stay; pages end at their time and
never come back; a namespace stays inside its quota; live counts are exact; the capacity holds after every call to the disk.
"""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore

SEGMENT = 32 << 10
INDEX = 128 << 10
SIZES = {0: 5000, 1: 100}
KEYS = 40
QUOTAS = {0: None, 1: 12 * 4096}

ids = st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=8, unique=True)
spaces = st.sampled_from(sorted(SIZES))


def key(i: int) -> bytes:
    return hashlib.sha256(b"%d" % i).digest()[:28]


def page(space: int, i: int, version: int) -> bytes:
    return np.random.default_rng([space, i, version]).integers(0, 256, SIZES[space], dtype=np.uint8).tobytes()


class PageStoreMachine(RuleBasedStateMachine):
    """Rules are what a caller, the disk and the operator may do."""

    @initialize(segments=st.integers(3, 6), direct=st.booleans())
    def begin(self, segments, direct):
        self.fs = MemoryFileSystem(direct=direct)
        self.segments = segments
        self.versions: dict[tuple[int, int], int] = {}  # last version put under a key
        self.could: dict[tuple[int, int], set[int]] = {}  # versions that may be delivered
        self.synced: set[tuple[int, int]] = set()  # pages that a power cut must leave
        self.clock = ManualClock(wall=1_800_000_000.0)
        self.ends: dict[tuple[int, int, int], float] = {}  # wall time after which a version must not be delivered
        self.pinned: dict[tuple[int, int], int] = {}
        self.peak = 0
        self.fs.on_op = self.measure
        self.open()

    def ended(self, n, i, version):
        return self.clock.now() >= self.ends.get((n, i, version), float("inf"))

    def last_ended(self, pair):
        return self.ended(*pair, self.versions.get(pair, 0))

    def measure(self, op, path):
        self.peak = max(self.peak, self.fs.total_bytes("/s"))

    def open(self):
        self.capacity = INDEX + 8192 + self.segments * SEGMENT
        options = StoreOptions(
            capacity_bytes=self.capacity,
            segment_bytes=SEGMENT,
            index_bytes=INDEX,
            block_cache_bytes=64 << 10,
            fs=self.fs,
            rng=seeded(1),
            clock=self.clock,
            scheduler=ManualScheduler(),
        )
        self.pinned.clear()
        self.store = PageStore.open("/s", options=options)
        self.spaces = {
            n: self.store.namespace({"n": n}, size, name=f"space {n}", quota_bytes=QUOTAS[n]) for n, size in SIZES.items()
        }
        for n, space in self.spaces.items():
            space.on_evict(lambda keys, sizes, n=n: self.evict(n, keys, sizes))

    def evict(self, n, keys, sizes):
        assert all(size == SIZES[n] for size in sizes)
        gone = set(keys)
        for pair in [pair for pair in self.pinned if pair[0] == n and key(pair[1]) in gone]:
            assert self.last_ended(pair), f"pinned page {pair} was evicted"
            del self.pinned[pair]
        self.synced -= {(n, i) for i in range(KEYS) if key(i) in gone}
        for i in range(KEYS):
            if key(i) in gone:
                self.could[n, i] = set()

    @rule(n=spaces, which=ids, ttl=st.sampled_from([None, None, 60, 600]))
    def put(self, n, which, ttl):
        there = self.spaces[n].contains([key(i) for i in which])
        pages = []
        for i, present in zip(which, there, strict=True):
            if not present:
                self.versions[n, i] = self.versions.get((n, i), 0) + 1
                self.could[n, i] = {self.versions[n, i]}
                self.synced.discard((n, i))
                self.pinned.pop((n, i), None)
                if ttl is not None:
                    self.ends[n, i, self.versions[n, i]] = (self.clock.now() + ttl + 59.999) // 60 * 60  # whole minutes
            pages.append(page(n, i, self.versions.get((n, i), 1)))
        flags = self.spaces[n].put_many([key(i) for i in which], pages, ttl_s=ttl)
        there = self.spaces[n].contains([key(i) for i in which])
        for i, flag, present in zip(which, flags, there, strict=True):
            assert flag == present
            if not flag:
                self.could[n, i] = set()

    @rule(n=spaces, which=ids)
    def get(self, n, which):
        self.check(n, which)

    @rule(n=spaces, which=ids)
    def delete(self, n, which):
        there = self.spaces[n].contains([key(i) for i in which])
        self.synced -= {(n, i) for i in which}
        assert self.spaces[n].delete_many([key(i) for i in which]) == there.sum()
        for i in which:
            self.could[n, i] = set()
            self.pinned.pop((n, i), None)

    @rule(n=spaces, which=ids)
    def pin(self, n, which):
        flags = self.spaces[n].pin([key(i) for i in which])
        for i, flag in zip(which, flags, strict=True):
            if flag:
                self.pinned[n, i] = self.pinned.get((n, i), 0) + 1
        assert self.store.stats().pinned_bytes <= max(self.segments - 1, 1) * SEGMENT // 2

    @rule(n=spaces, which=ids)
    def unpin(self, n, which):
        self.spaces[n].unpin([key(i) for i in which])
        for i in which:
            if self.pinned.get((n, i), 0) > 1:
                self.pinned[n, i] -= 1
            else:
                self.pinned.pop((n, i), None)

    @rule(seconds=st.sampled_from([30, 90, 700]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def background(self):
        self.store.step()

    @rule(n=spaces)
    def prefix(self, n):
        there = self.spaces[n].contains([key(i) for i in range(KEYS)])
        expected = KEYS if there.all() else int(there.argmin())
        assert self.spaces[n].contains_prefix([key(i) for i in range(KEYS)]) == expected

    @rule(max_live=st.sampled_from([0.3, 0.75, 0.95]))
    def gc(self, max_live):
        before = self.present()
        report = self.store.gc(max_live=max_live)
        assert report.reason
        assert self.present() == before

    @rule()
    def sync(self):
        self.store.sync()
        self.synced = self.present()

    @rule()
    def lose_the_ranks(self):
        """The file that a close leaves is damaged: pages rank by age, nothing else changes."""
        before = self.present()
        self.store.close()
        if self.fs.exists("/s/RETENTION"):
            file = self.fs.open("/s/RETENTION", "rw")
            file.pwritev([b"?"], file.size() // 2)
            file.sync()
        self.open()
        assert self.present() == before
        self.synced = before

    @rule()
    def flush_index(self):
        self.store._db.flush()
        self.store._db.settle()

    @rule()
    def reopen(self):
        before = self.present()
        self.store.close()
        self.open()
        assert self.present() == before
        self.synced = before

    @rule(seed=st.one_of(st.none(), st.integers(0, 1000)))
    def crash(self, seed):
        self.fs = self.fs.crash(None if seed is None else seeded(seed))
        self.fs.on_op = self.measure
        for versions in self.could.values():
            versions.clear()
        for (n, i), last in self.versions.items():  # deletes and replacements may be undone, back to the last sync
            self.could[n, i] = set(range(1, last + 1))
        self.open()
        there = set()
        for n in SIZES:
            there |= {(n, i) for i in self.check(n, range(KEYS))}
        assert {pair for pair in self.synced if not self.last_ended(pair)} <= there
        self.synced = set()

    @precondition(lambda self: self.segments > 3)
    @rule()
    def shrink(self):
        self.store.close()
        self.segments -= 1
        self.synced = set()
        self.open()
        self.peak = 0
        for pair in set(self.could) - self.present():
            self.could[pair] = set()

    @rule()
    def lose_a_byte(self):
        """One byte of a live page changes on the disk: that page is a miss from now on, the others are not."""
        self.store.sync()
        for segment in self.store._space.segments.values():
            if segment.pages:
                whole = [(k, p) for k, p in self.store._space.live_pages(segment) if not 0 < p.expiry <= self.store._log.minute()]
                for k, place in whole[:1]:
                    file = self.fs.open(self.store._files.path(segment.number), "rw")
                    old = file.pread(1, place.offset)
                    file.pwritev([bytes([old[0] ^ 255])], place.offset)
                    file.sync()
                    n = next(n for n, space in self.spaces.items() if space.number == int.from_bytes(k[:4], "big"))
                    i = next(i for i in range(KEYS) if key(i) == k[4:])
                    corrupt = self.store.stats().corrupt_pages
                    assert self.check(n, [i]) == set()
                    assert self.store.stats().corrupt_pages == corrupt + 1
                    self.could[n, i] = set()
                    self.synced.discard((n, i))
                    self.pinned.pop((n, i), None)
                return

    def check(self, n, which) -> set[int]:
        """Read pages; the numbers delivered. Every one must be a version that may be there."""
        which = list(which)
        out = np.zeros((len(which), SIZES[n]), np.uint8)
        flags = self.spaces[n].get_into([key(i) for i in which], out)
        for at, i in enumerate(which):
            if flags[at]:
                versions = {v for v in self.could.get((n, i), ()) if not self.ended(n, i, v)}
                match = {v for v in versions if page(n, i, v) == out[at].tobytes()}
                assert match, f"page {n}/{i} is none of {self.could.get((n, i))}"
                self.could[n, i] = match
        return {i for at, i in enumerate(which) if flags[at]}

    def present(self) -> set[tuple[int, int]]:
        keys = [key(i) for i in range(KEYS)]
        return {(n, i) for n, space in self.spaces.items() for i in np.flatnonzero(space.contains(keys)).tolist()}

    @invariant()
    def counts_are_exact_and_the_quota_holds(self):
        if not hasattr(self, "store"):
            return
        stats = self.store.stats()
        present = self.present()
        assert {pair for pair in self.pinned if not self.last_ended(pair)} <= present
        assert sum(len(list(space.keys())) for space in self.spaces.values()) == len(present)
        listed = {n: len(list(self.store._db.scan(prefix=space.number.to_bytes(4, "big")))) for n, space in self.spaces.items()}
        assert listed[1] * 4096 <= QUOTAS[1]
        assert stats.pages == sum(listed.values())
        assert stats.live_bytes == listed[0] * 8192 + listed[1] * 4096
        assert self.peak <= self.capacity

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()


PageStoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPageStore = PageStoreMachine.TestCase
