"""The engine against a dict: every operation in any order, with flushes, compactions, reopening and power cuts between."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

keys = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b"", b"\0", b"a", b"a\0", b"ab", b"b", b"\xff\xff"]),
    st.integers(0, 40).map(lambda i: b"key%02d" % i),
)
values = st.one_of(st.binary(max_size=12), st.just(b"v" * 300))
bounds = st.none() | keys
OPTIONS = {
    "memtable_bytes": st.sampled_from([1024, 2048, 1 << 16]),
    "table_bytes": st.sampled_from([1024, 4096]),
    "max_immutables": st.integers(1, 3),
    "max_open_tables": st.sampled_from([1, 2, 500]),
    "block_cache_bytes": st.sampled_from([0, 600, 4096, 1 << 20]),
    "filter_bits_per_key": st.sampled_from([0.0, 3.0, 10.0]),
    "compression": st.sampled_from(["none", "zstd"]),
    "level0_runs": st.integers(1, 4),
    "wal_sync": st.sampled_from(["off", "interval"]),
    "tombstone_age_s": st.sampled_from([None, 1e6]),
    "range_delete_keys": st.sampled_from([0, 1, 256]),
    "filter_allocation": st.sampled_from(["monkey", "uniform"]),
    "background_bytes_per_s": st.sampled_from([None, 1e6]),
}
"""What may change while the store is open; none of it may change an answer."""
POLICIES = [
    lsmkv.Leveled(size_ratio=2),
    lsmkv.Leveled(size_ratio=3, partial="oldest"),
    lsmkv.Tiered(size_ratio=3),
    lsmkv.LazyLeveling(size_ratio=3),
    lsmkv.FIFO(capacity_bytes=1 << 40),
]


class EngineMachine(RuleBasedStateMachine):
    """A store with tiny buffers and a dict that says what it must contain."""

    snapshots = Bundle("snapshots")

    @initialize(
        memtable=st.sampled_from(["skiplist", "sorteddict"]),
        compression=st.sampled_from(["none", "zstd", ("none", "zstd")]),
        bits=st.sampled_from([0.0, 10.0]),
        cache=st.sampled_from([0, 4096, 1 << 20]),
        ratio=st.sampled_from([2, 3, 10]),
        points=st.sampled_from([0, 0, 3, 256]),
        block=st.sampled_from([128, 128, 1024]),
    )
    def start(self, memtable, compression, bits, cache, ratio, points, block):
        self.fs = MemoryFileSystem()
        self.settings = {
            "memtable": memtable,
            "compression": compression,
            "filter_bits_per_key": bits,
            "block_cache_bytes": cache,
            "policy": lsmkv.Leveled(size_ratio=ratio),
            "memtable_bytes": 2048,
            "block_bytes": block,
            "table_bytes": 1024,
            "level0_runs": 2,
            "level0_stop_runs": 5,
            "range_delete_keys": points,
        }
        self.model: dict[bytes, bytes] = {}
        self.history: list[dict[bytes, bytes]] = [{}]
        self.durable = 0
        self.copies = 0
        self.live: list[object] = []
        self.open()

    def open(self):
        options = lsmkv.Options(fs=self.fs, rng=seeded(0), scheduler=ManualScheduler(), **self.settings)
        self.db = lsmkv.open("/db", options)

    def committed(self, *, sync):
        self.history.append(dict(self.model))
        if sync:
            self.durable = len(self.history) - 1

    @rule(key=keys, value=values, sync=st.booleans())
    def put(self, key, value, sync):
        self.db.put(key, value, sync=sync)
        self.model[key] = value
        self.committed(sync=sync)

    @rule(key=keys, sync=st.booleans())
    def delete(self, key, sync):
        self.db.delete(key, sync=sync)
        self.model.pop(key, None)
        self.committed(sync=sync)

    def forget(self, start, stop):
        for key in [k for k in self.model if (start is None or k >= start) and (stop is None or k < stop)]:
            del self.model[key]

    @rule(ends=st.tuples(bounds, bounds), sync=st.booleans())
    def delete_range(self, ends, sync):
        start, stop = ends if None in ends else sorted(ends)
        if stop is not None and (start or b"") >= stop:
            stop = (start or b"") + b"\0"
        self.db.delete_range(start, stop, sync=sync)
        self.forget(start, stop)
        self.committed(sync=sync)

    @rule(ops=st.lists(st.tuples(keys, st.none() | values | st.just("range")), max_size=20), sync=st.booleans())
    def batch(self, ops, sync):
        batch = lsmkv.WriteBatch()
        for key, value in ops:
            if value == "range":
                batch.delete_range(key, key + b"\xff")
                self.forget(key, key + b"\xff")
            elif value is None:
                batch.delete(key)
                self.model.pop(key, None)
            else:
                batch.put(key, value)
                self.model[key] = value
        self.db.write(batch, sync=sync)
        self.committed(sync=sync and bool(ops))

    @rule(pairs=st.lists(st.tuples(keys, values), max_size=30))
    def put_many(self, pairs):
        self.db.put_many(pairs)
        self.model.update(pairs)
        self.committed(sync=False)

    @rule(of=st.integers(0, 2), first=st.integers(0, 30), value=st.binary(max_size=6), load=st.booleans())
    def pages(self, of, first, value, load):
        """Keys that share most of their bytes, with values of one length: what lies side by side in blocks."""
        pairs = {b"conversation-%d/%02d" % (of, i): value for i in range(first, first + 16)}
        (self.db.load_sorted if load else self.db.put_many)(list(pairs.items()))
        self.model.update(pairs)
        self.committed(sync=load)

    @rule(pairs=st.dictionaries(keys, values, max_size=30))
    def load_sorted(self, pairs):
        report = self.db.load_sorted(sorted(pairs.items()))
        assert report.entries == len(pairs)
        self.model.update(pairs)
        self.committed(sync=bool(pairs))

    @rule(key=keys)
    def get(self, key):
        assert self.db.get(key) == self.model.get(key)

    @rule(wanted=st.lists(keys, max_size=30))
    def get_many(self, wanted):
        assert self.db.get_many(wanted) == [self.model.get(k) for k in wanted]
        assert self.db.contains_many(wanted).tolist() == [k in self.model for k in wanted]

    @rule(
        of=st.none() | st.integers(0, 2),
        first=st.integers(0, 30),
        count=st.integers(8, 16),
        fresh=st.booleans(),
    )
    def get_many_side_by_side(self, of, first, count, fresh):
        """Keys in order, as they are stored; then the same with one of them doubled, another, cut short, out of order."""
        prefix = b"" if of is None else b"conversation-%d" % of
        if fresh and of is not None:  # in the newest table, alone
            self.flush()
            self.pages(of, first, b"page", load=False)
            self.flush()
            prefix += b"/%02d" % first
        wanted = sorted(key for key in self.model if key >= prefix)[:count]
        twisted = [wanted]
        for at in range(3, len(wanted) - 1):
            before, key, after = wanted[:at], wanted[at], wanted[at + 1 :]
            twisted += [[*before, *other, *after] for other in ([key, key], [b"X" + key[1:]], [key[:-1]])]
            twisted.append([*before[:-1], key, *before[-1:], *after])
        for batch in twisted:
            assert self.db.get_many(batch) == [self.model.get(k) for k in batch]

    @rule(start=bounds, stop=bounds, prefix=st.none() | st.binary(max_size=2), reverse=st.booleans())
    def scan(self, start, stop, prefix, reverse):
        assert list(self.db.scan(start, stop, prefix=prefix, reverse=reverse)) == self.select(
            self.model, start, stop, prefix, reverse
        )

    @staticmethod
    def select(model, start, stop, prefix, reverse):
        return [
            (k, v)
            for k, v in sorted(model.items(), reverse=reverse)
            if (start is None or k >= start) and (stop is None or k < stop) and (not prefix or k.startswith(prefix))
        ]

    @rule(target=snapshots)
    def snapshot(self):
        entry = [self.db.snapshot(), dict(self.model)]
        self.live.append(entry)
        return entry

    @rule(entry=snapshots, wanted=st.lists(keys, max_size=10), reverse=st.booleans())
    def read_snapshot(self, entry, wanted, reverse):
        snap, model = entry
        if snap is not None:
            assert snap.get_many(wanted) == [model.get(k) for k in wanted]
            assert [snap.get(k) for k in wanted] == [model.get(k) for k in wanted]
            assert list(snap.scan(reverse=reverse)) == sorted(model.items(), reverse=reverse)

    @rule(entry=consumes(snapshots))
    def release(self, entry):
        if entry[0] is not None:
            entry[0].close()
            entry[0] = None

    @rule()
    def flush(self):
        self.db.flush()
        self.durable = len(self.history) - 1

    @rule()
    def step(self):
        self.db.step()

    @rule()
    def settle(self):
        self.db.settle()
        assert self.db.pending() is None

    @rule(changes=st.fixed_dictionaries({}, optional=OPTIONS))
    def set_options(self, changes):
        assert self.db.set_options(**changes) == self.db.options
        self.settings |= changes

    @rule(policy=st.sampled_from(POLICIES), pace=st.sampled_from(["greedy", "lazy"]))
    def set_policy(self, policy, pace):
        self.db.set_policy(policy, pace)
        self.settings["policy"] = policy

    @rule(keys=st.lists(keys, max_size=5))
    def checkpoint(self, keys):
        self.copies += 1
        path = f"/copy{self.copies}"
        self.db.checkpoint(path)
        self.durable = len(self.history) - 1
        with lsmkv.open(path, lsmkv.Options(fs=self.fs, rng=seeded(0), scheduler=ManualScheduler())) as copy:
            assert dict(copy.scan()) == self.model
            assert copy.get_many(keys) == [self.model.get(key) for key in keys]
            copy.delete_range(None, None)
            copy.settle()

    @rule(start=bounds, stop=bounds)
    def compact(self, start, stop):
        self.db.compact(start, stop)
        self.durable = len(self.history) - 1

    def drop_snapshots(self):
        for entry in self.live:
            entry[0] = None
        self.live.clear()

    @rule(rebuild=st.booleans())
    def reopen(self, rebuild):
        self.drop_snapshots()
        self.db.close()
        if rebuild:  # everything is in tables, and nothing else is there: the tree that repair makes of them says the same
            assert not lsmkv.repair("/db", fs=self.fs, rebuild=True).losses
        self.open()
        self.durable = len(self.history) - 1

    @precondition(lambda self: len(self.history) > 1)
    @rule(seed=st.none() | st.integers(0, 1000), repair=st.booleans())
    def power_cut(self, seed, repair):
        self.drop_snapshots()
        self.fs = self.fs.crash(None if seed is None else seeded(seed))
        self.db = None
        if repair:
            assert lsmkv.repair("/db", fs=self.fs).healthy, "a crash is no damage"
        self.open()
        got = dict(self.db.scan())
        possible = self.history[self.durable :]
        assert got in possible
        self.model = got
        self.history = [dict(got)]
        self.durable = 0

    @invariant()
    def sound(self):
        if getattr(self, "db", None) is not None:
            self.db.check()

    def teardown(self):
        if getattr(self, "db", None) is not None:
            self.drop_snapshots()
            self.db.close()
            assert lsmkv.verify("/db", fs=self.fs).ok


EngineMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEngine = EngineMachine.TestCase
