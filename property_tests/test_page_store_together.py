"""The page store with everything at once: a queue, codecs, ends, pins, quotas, several disks, siblings, and a disk that fails.

The model knows for every page which contents may be delivered, and which could still come back after a power cut (those that
were there at some time since the last sync). So a wrong byte is seen, and so is a page that comes back after it was deleted,
dropped with its namespace, ended, or evicted, and one that was acknowledged by a sync and is gone. Errors are those that the
contract names, counts are exact whenever the disk is well, and the capacity holds after every call to the file system.
"""

from __future__ import annotations

import contextlib
import hashlib

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FailOp, FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.errors import ClosedError, InvalidArgumentError, IOFailedError
from lsmkv_tensor.followed import PageFollower
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore

SEGMENT = 32 << 10
INDEX = 192 << 10
SIZES = {0: 6000, 1: 100}
QUOTA = 12 * 4096
KEYS = 30

ids = st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=8, unique=True)
spaces = st.sampled_from(sorted(SIZES))
faults = st.sampled_from(
    [
        FailOp("sync", path="*.seg", times=1),
        FailOp("sync", path="*.wal", times=1),
        FailOp("pwritev", path="*.seg", times=2),
        FailOp("pwritev", path="*.wal", times=1),
        FailOp("pwritev", path="*.seg", errno=28),
        FailOp("pwritev", path="/two/*"),
        FailOp("allocate", errno=28),
        FailOp("open", path="*.seg", times=3),
        FailOp("read", path="*.seg", times=4),
        FailOp("read", path="/two/*"),
        FailOp("sync_dir", times=1),
        FailOp("unlink", times=2),
        FailOp("lock", times=1),
        FailOp("listdir", times=1),
        FailOp("open", path="*TRY", times=2),
    ]
)


def key(i: int) -> bytes:
    return hashlib.sha256(b"%d" % i).digest()[:28]


def page(n: int, i: int, version: int) -> bytes:
    """Half of it can be compressed."""
    noise = np.random.default_rng([n, i, version]).integers(0, 256, SIZES[n], dtype=np.uint8)
    noise[1::2] = version
    return noise.tobytes()


class TogetherMachine(RuleBasedStateMachine):
    """What a caller, the disk, the clock and the operator may do."""

    @initialize(segments=st.integers(4, 6), disks=st.integers(1, 2), queue=st.booleans())
    def begin(self, segments, disks, queue):
        self.disk = MemoryFileSystem()
        self.clock = ManualClock(wall=1_800_000_000.0)
        self.paths = ["/one", "/two"][:disks]
        self.changes = {
            "segments": segments,
            "put_queue_bytes": 16 * 6000 if queue else 0,
            "eviction": "mq",
            "breaker_failures": 2,
            "codec": "raw",
        }
        self.versions: dict[tuple[int, int], int] = {}
        self.could: dict[tuple[int, int], set[int]] = {}
        self.since: dict[tuple[int, int], set[int]] = {}
        """Versions that may be there after a power cut: those that could be delivered at some time since the last sync."""
        self.synced: set[tuple[int, int]] = set()
        self.pinned: set[tuple[int, int]] = set()
        self.ends: dict[tuple[int, int, int], float] = {}
        self.generation = dict.fromkeys(SIZES, 0)
        self.armed = False
        self.peak = 0
        self.open()

    # the store

    def open(self):
        self.fs = FaultFileSystem(self.disk)
        self.disk.on_op = self.measure
        given = dict(self.changes)
        self.capacity = INDEX + 8192 * len(self.paths) + given.pop("segments") * SEGMENT
        self.codec = given.pop("codec")
        self.peak = 0
        self.armed = False
        options = StoreOptions(
            capacity_bytes=self.capacity,
            segment_bytes=SEGMENT,
            index_bytes=INDEX,
            block_cache_bytes=64 << 10,
            fs=self.fs,
            clock=self.clock,
            rng=seeded(1),
            scheduler=ManualScheduler(),
            **given,
        )
        self.pinned.clear()
        self.recoveries = self.attempts = 0
        self.evicting: set[tuple[int, int]] = set()
        self.store = PageStore.open(self.paths, options=options, member="a")
        self.spaces = {n: self.view(n) for n in SIZES}
        self.follower = None

    def view(self, n):
        quota = QUOTA if n == 1 else None
        fields = {"n": n, "life": self.generation[n]}
        space = self.store.namespace(fields, SIZES[n], codec=self.codec, quota_bytes=quota)
        life = self.generation[n]
        space.on_evict(lambda keys, sizes: self.evicted(n, keys) if life == self.generation[n] else None)
        return space

    def measure(self, op, path):
        self.peak = max(self.peak, self.disk.total_bytes("/one") + self.disk.total_bytes("/two"))

    def evicted(self, n, keys):
        gone = {i for i in range(KEYS) if key(i) in set(keys)}
        for pair in [(n, i) for i in gone]:
            reopening = self.store.health().attempts != self.attempts  # what could not be written again goes, pinned or not
            assert pair not in self.pinned or self.all_ended(pair) or reopening, f"pinned page {pair} was evicted"
            self.pinned.discard(pair)
            self.synced.discard(pair)
            if not self.changes["put_queue_bytes"] and (*pair, self.versions.get(pair, 0) - 1) not in self.ends:
                self.lose(pair)  # else the page may wait in the queue too, or be an ended one that is stored again by now

    def lose(self, pair):
        """It may be gone."""
        self.synced.discard(pair)
        self.could[pair] = set()

    def all_ended(self, pair):
        return all(self.ended(*pair, v) for v in self.could.get(pair, ()))

    def ended(self, n, i, version):
        return self.clock.now() >= self.ends.get((n, i, version), float("inf"))

    def may_be(self, pair, versions):
        self.could[pair] = set(versions)
        self.since[pair] = self.since.get(pair, set()) | set(versions)

    def after(self):
        """A store that reopened itself is as after a crash of the process, but that pins live on."""
        health = self.store.health()
        self.attempts = health.attempts
        if health.recoveries != self.recoveries:
            self.recoveries = health.recoveries
            self.rolled_back()
            self.pinned -= {(n, i) for n in SIZES for i in set(range(KEYS)) - self.present(n)}

    def rolled_back(self):
        for pair, versions in self.since.items():
            self.could[pair] = set(versions)

    def well(self):
        """The disk works again, and the store knows it."""
        self.fs.clear()
        self.armed = False
        for _ in range(3):
            self.clock.advance(61)
            self.store.step()
            self.after()
        assert self.store.health().state == "ok", self.store.health()

    # rules

    @rule(n=spaces, which=ids, ttl=st.sampled_from([None, None, None, 60, 600]), wait=st.sampled_from([None, True]))
    def put(self, n, which, ttl, wait):
        before = self.present(n)
        pages, offered = [], {}
        for i in which:
            if i not in before:
                version = self.versions[n, i] = self.versions.get((n, i), 0) + 1
                offered[i] = version
                self.synced.discard((n, i))
                self.pinned.discard((n, i))
                self.may_be((n, i), {version} | (self.could.get((n, i), set()) if self.armed else set()))
                if ttl is not None:
                    self.ends[n, i, version] = (self.clock.now() + ttl + 59.999) // 60 * 60
            pages.append(page(n, i, self.versions.get((n, i), 1)))
        space = self.spaces[n]
        memory = [bytearray(p) for p in pages]
        flags = space.put_many([key(i) for i in which], memory, ttl_s=ttl, wait=wait)
        for buffer in memory:
            buffer[:] = bytes(len(buffer))
        if not self.armed and self.store.health().state == "ok":
            there = space.contains([key(i) for i in which]).tolist()
            assert there == flags or self.changes["put_queue_bytes"]  # what waits is there, whatever becomes of it
            for i, flag in zip(which, flags, strict=True):
                if not flag and i in offered:
                    self.could[n, i] = set()
        self.after()

    @rule(n=spaces, which=ids, deadline=st.sampled_from([None, None, 5.0]))
    def get(self, n, which, deadline):
        self.check(n, which, deadline)

    @rule(n=spaces)
    def probe(self, n):
        keys = [key(i) for i in range(KEYS)]
        there = self.spaces[n].contains(keys)
        expected = KEYS if there.all() else int(there.argmin())
        found = self.spaces[n].contains_prefix(keys)
        assert found == expected or self.armed
        self.after()

    @rule(n=spaces, which=ids)
    def delete(self, n, which):
        for i in which:
            self.synced.discard((n, i))
            self.pinned.discard((n, i))
        try:
            self.spaces[n].delete_many([key(i) for i in which])
        except IOFailedError:
            assert self.armed or self.store.health().state != "ok"
        else:
            for i in which:
                self.could[n, i] = set()
        self.after()

    @rule(n=spaces)
    def drop(self, n):
        old = self.spaces[n]
        for i in range(KEYS):
            self.synced.discard((n, i))
            self.pinned.discard((n, i))
        try:
            self.store.drop_namespace(old.number)
        except IOFailedError:
            assert self.armed or self.store.health().state != "ok"
            self.after()
            self.well()
            with contextlib.suppress(InvalidArgumentError):  # it was forgotten all the same
                self.store.drop_namespace(old.number)
        for i in range(KEYS):
            self.could[n, i] = set()
            self.since[n, i] = set()
        for wait in (None, True):
            try:
                flags = old.put_many([key(0)], [page(n, 0, 1)], wait=wait)
            except ClosedError:
                continue
            assert flags == [False]
            assert self.store.health().state != "ok"
        self.generation[n] += 1
        self.after()
        if self.armed:
            self.well()
        self.spaces[n] = self.view(n)

    @rule(n=spaces, which=ids)
    def pin(self, n, which):
        try:
            flags = self.spaces[n].pin([key(i) for i in which])
        except IOFailedError:
            assert self.armed
            return
        self.pinned |= {(n, i) for i, flag in zip(which, flags, strict=True) if flag}
        self.after()

    @rule(seconds=st.sampled_from([30, 90, 700]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(times=st.integers(1, 4))
    def background(self, times):
        for _ in range(times):
            self.store.step()
            self.after()

    @rule(max_live=st.sampled_from([0.3, 0.75, 0.95]))
    def gc(self, max_live):
        try:
            self.store.gc(max_live=max_live)
        except IOFailedError:
            assert self.armed or self.store.health().state != "ok"
        self.after()

    @rule()
    def sync(self):
        try:
            self.store.sync()
        except IOFailedError:
            assert self.armed or self.store.health().state != "ok"
            self.after()
            return
        if not self.armed:
            self.note_synced()

    def note_synced(self):
        self.synced = {(n, i) for n in SIZES for i in self.present(n)}
        self.since = {pair: set(versions) for pair, versions in self.could.items()}

    @rule(fault=faults)
    def fail(self, fault):
        if not (self.armed and fault.path == "*"):
            self.fs.add(fault)
            self.armed = True

    @rule()
    def mend(self):
        self.well()

    @rule(n=spaces)
    def look_from_outside(self, n):
        """Somebody else reads: late perhaps, but no wrong byte, and nothing that has ended."""
        if self.armed:
            return
        if self.follower is None:
            options = StoreOptions(
                fs=self.disk, clock=self.clock, capacity_bytes=1 << 20, rng=seeded(2), scheduler=ManualScheduler()
            )
            self.follower = PageFollower.open("/one", options=options)
        space = self.follower.namespace({"n": n, "life": self.generation[n]}, SIZES[n])
        out = np.zeros((KEYS, SIZES[n]), np.uint8)
        flags = space.get_into([key(i) for i in range(KEYS)], out)
        for i in np.flatnonzero(flags).tolist():
            assert out[i].tobytes() in {
                page(n, i, v) for v in range(1, self.versions.get((n, i), 0) + 1) if not self.ended(n, i, v)
            }

    @rule(
        eviction=st.sampled_from(["mq", "lru", "fifo", "countlru"]),
        codec=st.sampled_from(["raw", "shuffle_zstd"]),
        queue=st.booleans(),
        smaller=st.booleans(),
        admission=st.sampled_from(["all", "all", "second"]),
    )
    def reopen(self, eviction, codec, queue, smaller, admission):
        self.well()
        self.store.sync()
        self.note_synced()
        before = {n: self.present(n) for n in SIZES}
        self.close()
        self.changes |= {"eviction": eviction, "codec": codec, "put_queue_bytes": 16 * 6000 if queue else 0}
        self.changes |= {"admission": admission}
        shrinks = smaller and self.changes["segments"] > 4
        self.changes["segments"] -= shrinks
        self.open()
        if shrinks:
            self.peak = 0
            for n in SIZES:
                for i in before[n] - self.present(n):
                    self.lose((n, i))
        else:
            assert {n: self.present(n) for n in SIZES} == before

    @rule(seed=st.one_of(st.none(), st.integers(0, 1000)))
    def crash(self, seed):
        if self.follower is not None:
            self.follower.close()
        self.disk = self.disk.crash(None if seed is None else seeded(seed))
        self.rolled_back()
        self.open()
        there = {(n, i) for n in SIZES for i in self.check(n, range(KEYS))}
        lost = {pair for pair in self.synced if not self.all_ended(pair)} - there
        assert not lost, f"synced and lost: {lost}"
        self.synced = set()

    # what is there

    def check(self, n, which, deadline=None) -> set[int]:
        which = list(which)
        out = np.zeros((len(which), SIZES[n]), np.uint8)
        flags = self.spaces[n].get_into([key(i) for i in which], out, deadline_s=deadline)
        for at, i in enumerate(which):
            if flags[at]:
                versions = {v for v in self.could.get((n, i), ()) if not self.ended(n, i, v)}
                match = {v for v in versions if page(n, i, v) == out[at].tobytes()}
                assert match, f"page {n}/{i} is none of {self.could.get((n, i))} (of {self.versions.get((n, i))} put)"
        self.after()
        return {i for at, i in enumerate(which) if flags[at]}

    def present(self, n) -> set[int]:
        return set(np.flatnonzero(self.spaces[n].contains([key(i) for i in range(KEYS)])).tolist())

    @invariant()
    def counts_are_exact_and_limits_hold(self):
        if not hasattr(self, "store"):
            return
        assert self.peak <= self.capacity
        if self.armed or self.store.health().state != "ok":
            return
        for n in SIZES:
            for i in self.present(n):
                assert self.could.get((n, i)), f"page {n}/{i} is there and must not be"
        stats = self.store.stats()
        listed = self.store.namespaces(sizes=True)
        assert stats.pages == sum(info.size.pages for info in listed)
        assert stats.live_bytes == sum(info.size.disk_bytes for info in listed)
        own = next(info for info in listed if info.number == self.spaces[1].number)
        assert own.size.disk_bytes <= QUOTA
        assert {pair for pair in self.pinned if not self.all_ended(pair)} <= {(n, i) for n in SIZES for i in self.present(n)}
        assert self.store.stats().callback_errors == 0

    def close(self):
        if self.follower is not None:
            self.follower.close()
        self.store.close()
        assert self.store._services.staging.lent_bytes == 0

    def teardown(self):
        if hasattr(self, "store"):
            self.fs.clear()
            self.close()


TogetherMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestTogether = TogetherMachine.TestCase
