"""Policies on trees with real keys but no files: any switching, snapshots and deletes, and no task ever changes an answer.

A paper tree keeps the versions of every key per table and carries tasks out as the engine does: versions that no snapshot
needs are dropped, tombstones too where nothing older lies below, outputs are cut into small tables.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.keys import MAX_SEQ
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.policy.apply import apply, count_arrival, input_tables
from lsmkv.policy.picks import RULES, next_expiry, next_task
from lsmkv.policy.ranges import deepest_level, is_move, manual_task, older_overlaps
from lsmkv.policy.transition import debt
from lsmkv.version.rules import problems
from lsmkv.version.shape import TableMeta, TreeShape
from lsmkv.version.state import mean_arrival
from lsmkv.version.version import rebuild

KEYS = [b"%02d" % i for i in range(40)]
MOST_TABLE = 6
"""Versions in a table before the next one begins."""


class PaperStore:
    """A tree of tables that are sorted lists of (key, seq, deleted), newest version of a key first."""

    def __init__(self, level0_runs):
        self.shape = TreeShape(level0_runs=level0_runs, table_bytes=MOST_TABLE * 10)
        self.tables, self.history, self.arrivals = {}, {}, (0, 0)
        self.seq = self.number = 0
        self.snapshots: list[int] = []
        self.seen = {}
        self.copied = 0
        self.drops = False

    def write(self, entries):
        rows = []
        for key, deleted in entries.items():
            self.seq += 1
            self.history.setdefault(key, []).append((self.seq, deleted))
            rows.append((key, self.seq, deleted))
        self.number += 1
        meta = self.file(sorted(rows), [self.shape.now_s])
        self.shape = rebuild(self.shape, frozenset(), ((0, self.number, meta),))

    def file(self, rows, times, tombstone_s=None):
        self.number += 1
        self.tables[self.number] = rows
        seqs = [seq for _, seq, _ in rows]
        deleted = sum(d for *_, d in rows)
        oldest = (min(times) if tombstone_s is None else tombstone_s) if deleted else 0.0
        shadowed = len(rows) - len({key for key, *_ in rows})
        meta = TableMeta(self.number, 10 * len(rows), len(rows), deleted, rows[0][0], rows[-1][0], min(seqs), max(seqs))
        return replace(meta, born_s=min(times), newest_s=max(times), tombstone_s=oldest, shadowed=shadowed)

    def look(self):
        self.shape = replace(self.shape, snapshot_floor=min(self.snapshots, default=MAX_SEQ))
        return self.shape

    def run(self, task, *, counted=True):
        merged = input_tables(self.shape, task)
        if counted:
            self.arrivals = count_arrival(self.arrivals, self.shape, task)
        outputs = merged
        if not task.drops and not is_move(self.shape, task, merged):
            outputs = self.merge(merged, bottom=not older_overlaps(self.shape, task, merged))
            self.copied += sum(t.entries for t in outputs)
        self.number += 1
        self.drops |= task.drops
        self.shape = replace(apply(self.shape, task, outputs, self.number), buffer_entries=mean_arrival(self.arrivals))
        assert problems(self.shape) == ()
        self.check()

    def merge(self, merged, *, bottom):
        kept, points = [], [*sorted(self.snapshots), MAX_SEQ]
        versions = {}
        for table in merged:
            for key, seq, deleted in self.tables.pop(table.number):
                versions.setdefault(key, []).append((seq, deleted))
        for key in sorted(versions):
            wanted = {max((v for v in versions[key] if v[0] <= p), default=None) for p in points} - {None}
            rows = sorted(wanted, reverse=True)
            while bottom and rows and rows[-1][1] and rows[-1][0] <= points[0]:
                rows.pop()
            kept.append([(key, *row) for row in rows])
        cut, now = [], []
        for rows in kept:
            now += rows
            if len(now) >= MOST_TABLE:
                cut.append(now)
                now = []
        times = [t for table in merged for t in (table.born_s, table.newest_s)]
        tombs = min((t.tombstone_s for t in merged if t.tombstones), default=0.0)
        return [self.file(rows, times, tombs) for rows in [*cut, now] if rows]

    def settle(self, policy, most=400):
        for _ in range(most):
            task = next_task(policy, self.look())
            if task is None:
                return
            self.run(task)
        raise AssertionError(f"{policy} does not come to rest: {task.reason}")

    def answer(self, key, at):
        for table in self.shape.tables:
            found = [row for row in self.tables[table.number] if row[0] == key and row[1] <= at]
            if found:
                return None if found[0][2] else found[0][1]
        return None

    def check(self):
        """Every key reads as it was written last; once something was dropped it may be gone, but nothing older comes back.

        What a snapshot found when it was taken, it finds.
        """
        for at in (*self.snapshots, MAX_SEQ):
            for key in KEYS:
                last = max((v for v in self.history.get(key, []) if v[0] <= at), default=(0, True))
                expected = None if last[1] else last[0]
                found = self.answer(key, at)
                assert found == expected or (self.drops and found is None), (key, at)
                assert self.seen.get((key, at), found) == found


RATIO = st.integers(2, 6)


@st.composite
def fluids(draw):
    ratio = draw(RATIO)
    runs = st.integers(1, ratio - 1)
    inner = draw(runs | st.lists(runs, min_size=1, max_size=3).map(tuple))
    deep = inner[-1] if isinstance(inner, tuple) else inner
    last = draw(runs)
    rule = draw(st.sampled_from([None, *RULES])) if deep == last == 1 else None
    return Fluid(ratio, inner, last, rule)


CONTINUUM = st.one_of(
    st.builds(Leveled, RATIO, st.sampled_from([None, *RULES])),
    st.builds(Tiered, RATIO),
    st.builds(LazyLeveling, RATIO),
    fluids(),
)
FIFOS = st.builds(FIFO, st.integers(50, 2000), st.none() | st.integers(1, 50))
BATCH = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([False, False, True]), min_size=1, max_size=12)


def in_line(shape, policy):
    """Whether a tree keeps the promise of a settled one."""
    last = deepest_level(shape)
    return len(shape.levels[0].runs) <= shape.level0_runs and all(
        len(level.runs) <= policy.runs_at(number, last) for number, level in enumerate(shape.levels[1:], 1)
    )


OPS = st.lists(
    st.one_of(
        BATCH.map(lambda b: ("write", b)),
        st.tuples(BATCH, st.integers(2, 12)).map(lambda g: ("grow", g)),
        CONTINUUM.map(lambda p: ("policy", p)),
        st.booleans().map(lambda patient: ("patient", patient)),
        st.just(("snapshot", None)),
        st.just(("release", None)),
        st.integers(1, 20).map(lambda s: ("wait", s)),
        st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)).map(lambda r: ("compact", r)),
        st.just(("settle", None)),
        st.integers(1, 3).map(lambda n: ("step", n)),
    ),
    max_size=40,
)


def play(store, policy, ops, on_policy=None):
    for op, argument in ops:
        if op == "write":
            store.write(argument)
        elif op == "grow":
            for turn in range(argument[1]):
                store.write({KEYS[(KEYS.index(key) + 7 * turn) % len(KEYS)]: dead for key, dead in argument[0].items()})
                store.settle(policy)
        elif op == "policy":
            policy = on_policy or argument
        elif op == "patient":
            store.shape = replace(store.shape, patient=argument)
        elif op == "snapshot":
            store.snapshots.append(store.seq)
            store.seen.update({(key, store.seq): store.answer(key, store.seq) for key in KEYS})
        elif op == "release" and store.snapshots:
            store.snapshots.pop(0)
        elif op == "wait":
            store.shape = replace(store.shape, now_s=store.shape.now_s + argument)
        elif op == "compact":
            task = manual_task(store.look(), *argument)
            if task is not None:
                store.run(task, counted=False)
        elif op == "settle":
            store.settle(policy)
        elif op == "step":
            for _ in range(argument):
                task = next_task(policy, store.look())
                if task is not None:
                    store.run(task)
    return policy


@given(CONTINUUM, OPS, st.integers(1, 4), st.none() | st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_answers_stay_and_a_settled_tree_is_in_line(policy, ops, level0_runs, bound):
    store = PaperStore(level0_runs)
    store.shape = replace(store.shape, tombstone_age_s=bound)
    policy = play(store, policy, ops)
    store.check()
    store.shape = replace(store.shape, patient=False)
    store.settle(policy)
    assert in_line(store.shape, policy)
    assert debt(store.shape, policy, block_bytes=10).bytes == 0
    for number, level in enumerate(store.shape.levels[1 : deepest_level(store.shape)], 1):
        assert not store.shape.buffer_entries or policy.geometry.fits(level.entries, number, store.shape.buffer_entries, 4)
    if bound is not None:
        floor = store.shape.snapshot_floor
        late = [t for t in store.shape.tables if t.tombstones and store.shape.now_s - t.tombstone_s >= bound]
        assert all(t.max_seq > floor for t in late)
        due = next_expiry(store.shape)
        assert due is None or due > store.shape.now_s


@given(CONTINUUM, OPS, st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_without_snapshots_nothing_stays_that_nobody_needs(policy, ops, level0_runs):
    store = PaperStore(level0_runs)
    policy = play(store, policy, ops)
    store.snapshots = []
    store.shape = replace(store.shape, patient=False)
    store.settle(policy)
    below = {table.number for level in store.shape.levels[1:] for run in level.runs for table in run.tables}
    assert all(t.shadowed == 0 for t in store.shape.tables if t.number in below)
    tables = store.shape.tables
    for at, table in enumerate(tables):
        if table.number in below and table.tombstones:
            assert any(older.smallest <= table.largest and older.largest >= table.smallest for older in tables[at + 1 :])


@given(FIFOS, OPS, st.integers(1, 4), st.booleans())
@settings(max_examples=80, deadline=None)
def test_fifo_forgets_the_oldest_and_brings_nothing_back(policy, ops, level0_runs, only):
    store = PaperStore(level0_runs)
    policy = play(store, policy, ops, policy if only else None)
    policy = policy if isinstance(policy, FIFO) else FIFO(300)
    store.settle(policy)
    store.snapshots = []
    store.settle(policy)
    shape = store.shape
    newest = next((run for level in shape.levels for run in level.runs), None)
    assert shape.bytes <= max(policy.capacity_bytes, newest.bytes if newest is not None else 0)
    assert len(shape.levels[0].runs) <= level0_runs
    due = policy.wakes_s(shape)
    assert due is None or due > shape.now_s


@given(CONTINUUM, CONTINUUM, st.lists(BATCH, min_size=5, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_greedy_switch_pays_what_was_predicted_when_keys_differ_not_more_when_they_do_not(before, after, batches):
    store = PaperStore(1)
    for batch in batches:
        store.write(dict.fromkeys(batch, False))
        store.settle(before)
    predicted = debt(store.look(), after, block_bytes=7)
    paid = steps = 0
    while (task := after.pick(store.look())) is not None:
        paid += task.debt
        steps += task.debt > 0
        store.run(task)
    assert paid <= predicted.bytes or after.geometry.partial
    assert (predicted.bytes == 0) == (predicted.steps == 0) == (predicted.blocks == 0)
    assert predicted.blocks * 7 >= predicted.bytes
    assert in_line(store.shape, after)


@given(CONTINUUM, CONTINUUM, st.lists(BATCH, min_size=10, max_size=40))
@settings(max_examples=40, deadline=None)
def test_a_patient_switch_merges_nothing_by_itself_and_converges_as_levels_fill(before, after, batches):
    store = PaperStore(1)
    for batch in batches:
        store.write(dict.fromkeys(batch, False))
        store.settle(before)
    store.shape = replace(store.shape, patient=True)
    copied = store.copied
    while (task := after.pick(store.look())) is not None:
        assert task.debt == 0
        store.run(task)
    if after.geometry.partial is None and len(store.shape.levels[0].runs) <= 1:
        assert store.copied == copied
    for _ in range(60):
        for _ in range(10):
            store.write(dict.fromkeys(KEYS, False))
            store.settle(after)
        if debt(store.shape, after, block_bytes=1).steps == 0:
            return
    raise AssertionError("the tree is still not in line after 600 flushes")
