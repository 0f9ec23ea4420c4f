"""Range deletes against dicts, densely: ten keys, every read at every open snapshot after every step."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

KEYS = [b"%d" % i for i in range(10)]
PLACES = st.integers(0, 9)
POLICIES = st.sampled_from([lsmkv.Leveled(size_ratio=2), lsmkv.Tiered(size_ratio=3), lsmkv.FIFO(capacity_bytes=1 << 40)])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.lists(PLACES, min_size=1, max_size=4)),
    st.tuples(st.just("delete"), PLACES),
    st.tuples(st.just("range"), PLACES, st.integers(1, 10)),
    st.tuples(st.just("range"), PLACES, st.integers(1, 10)),
    st.tuples(st.just("batch"), PLACES, st.integers(1, 4), PLACES),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("release"), st.integers(0, 3)),
    st.tuples(st.just("rotate")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("step")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("compact"), PLACES, st.integers(1, 4)),
    st.tuples(st.just("reopen")),
)


class Dense:
    """A store and the dicts it must equal: now, and at each open snapshot."""

    def __init__(self, policy, points):
        self.fs, self.policy, self.points = MemoryFileSystem(), policy, points
        self.model, self.count, self.snapshots = {}, 0, []
        self.open()

    def open(self):
        options = lsmkv.Options(
            fs=self.fs,
            scheduler=ManualScheduler(),
            rng=seeded(1),
            policy=self.policy,
            range_delete_keys=self.points,
            memtable_bytes=4096,
            table_bytes=1024,
            block_bytes=64,
            level0_runs=2,
            level0_stop_runs=50,
            max_immutables=50,
            event_log=False,
        )
        self.db = lsmkv.open("/db", options)

    def value(self):
        self.count += 1
        return b"v%d" % self.count

    def forget(self, start, stop):
        self.model = {k: v for k, v in self.model.items() if not (k >= start and (stop is None or k < stop))}

    def do(self, name, *how):
        db = self.db
        if name == "put":
            pairs = [(KEYS[i], self.value()) for i in how[0]]
            db.put_many(pairs)
            self.model = {**self.model, **dict(pairs)}
        elif name == "delete":
            db.delete(KEYS[how[0]])
            self.forget(KEYS[how[0]], KEYS[how[0]] + b"\0")
        elif name == "range":
            start, stop = self.ends(*how)
            db.delete_range(start, stop)
            self.forget(start, stop)
        elif name == "batch":
            start, stop = self.ends(*how[:2])
            early, late = (KEYS[how[2]], self.value()), (KEYS[how[0]], self.value())
            with db.batch() as batch:
                batch.put(*early).delete_range(start, stop).put(*late)
            self.model = {**self.model, early[0]: early[1]}
            self.forget(start, stop)
            self.model[late[0]] = late[1]
        elif name == "snapshot":
            self.snapshots.append((db.snapshot(), dict(self.model)))
        elif name == "release":
            for snapshot, _ in self.snapshots[how[0] : how[0] + 1]:
                snapshot.close()
            del self.snapshots[how[0] : how[0] + 1]
        elif name == "rotate":
            with db._committer.lock:
                db._committer.rotate()
        elif name == "compact":
            db.compact(*self.ends(*how))
        elif name == "reopen":
            self.snapshots.clear()
            db.close()
            self.open()
        else:
            getattr(db, name)()

    @staticmethod
    def ends(low, width):
        return KEYS[low], KEYS[low + width] if low + width < 10 else None

    def check(self):
        for view, model in [(self.db, self.model), *self.snapshots]:
            assert {k: view.get(k) for k in KEYS} == {k: model.get(k) for k in KEYS}
            assert view.get_many(KEYS) == [model.get(k) for k in KEYS]
            assert view.contains_many(KEYS[::-1]).tolist() == [k in model for k in KEYS[::-1]]
            assert list(view.scan()) == sorted(model.items())
            assert list(view.scan(b"2", b"7", reverse=True)) == sorted(
                ((k, v) for k, v in model.items() if b"2" <= k < b"7"), reverse=True
            )
        self.db.check()


# short lists rarely bring one entry to a snapshot, a range delete and a merge
@given(POLICIES, st.sampled_from([0, 0, 2]), st.lists(STEPS, min_size=30, max_size=60))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_read_at_every_moment_agrees(policy, points, steps):
    dense = Dense(policy, points)
    for step in steps:
        dense.do(*step)
        dense.check()
    dense.snapshots.clear()
    dense.db.settle()
    dense.db.flush()
    dense.db.settle()
    dense.check()
    assert dense.db.stats().range_deletes == 0, "with no snapshot and nothing left to do every range delete has retired"
    dense.db.close()
    assert lsmkv.verify("/db", dense.fs).ok
