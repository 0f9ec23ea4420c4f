"""Single gets by the hash of their key (finders): the answers are those of a dict, the counts those of a store without them."""

from __future__ import annotations

import random
from array import array
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

import lsmkv
from lsmkv import Leveled, Tiered
from lsmkv.env.background import at_work
from lsmkv.env.rng import seeded
from lsmkv.errors import CorruptionError
from lsmkv.live.finders import FEWEST, PAUSE
from lsmkv.sstable.finder import hash_of, lookup
from lsmkv.testing import ManualScheduler, MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem

ENOUGH = FEWEST + 12 * PAUSE
"""Gets after which a small table has its finder."""


def key(n: int, width: int = 16) -> bytes:
    return random.Random(n).randbytes(width)


def small(fs: object, path: str = "/db", **overrides: object) -> lsmkv.DB:
    chosen: dict[str, object] = {
        "fs": fs,
        "scheduler": ManualScheduler(),
        "rng": seeded(1),
        "memtable_bytes": 1 << 20,
        "block_bytes": 512,
        "event_log": False,
        "status_interval_s": None,
    }
    return lsmkv.open(path, lsmkv.Options(**(chosen | overrides)))  # type: ignore[arg-type]  # overrides are the test's own


def filled(fs: object, count: int = 2000, **overrides: object) -> tuple[lsmkv.DB, dict[bytes, bytes]]:
    db = small(fs, **overrides)
    contents = {key(n): b"%08d" % n for n in range(count)}
    pairs = [*contents.items()]
    for start in range(0, count, 500):
        db.put_many(pairs[start : start + 500])
    db.compact()
    return db, contents


def ask(db: lsmkv.DB, contents: dict[bytes, bytes], keys: list[bytes], times: int = ENOUGH, seed: int = 5) -> None:
    for k in random.Random(seed).choices(keys, k=times):
        assert db.get(k) == contents.get(k)


def memory(db: lsmkv.DB) -> int:
    return db.stats().hash_column_bytes


def test_a_table_that_is_asked_often_gets_one() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents], FEWEST - 1)
        assert not memory(db)
        ask(db, contents, [*contents])
        assert 0 < memory(db) < 20 * len(contents)
        keys = [*contents, *(key(n) for n in range(10**6, 10**6 + 1000))]
        reads = db.stats().block_reads
        ask(db, contents, keys, 5000)
        assert db.stats().block_reads - reads < 25  # what the filter let through may be read where a tag is alike
        assert all(db.get(k) is None for k in keys[len(contents) :])


@pytest.mark.parametrize("absent", [0, 300, 4000], ids=["all present", "some absent", "most absent"])
@pytest.mark.parametrize("bits", [0.0, 10.0], ids=["no filter", "filter"])
def test_counts_are_those_of_a_store_without(absent: int, bits: float) -> None:
    counted = []
    for budget in (0, 1 << 20):
        db, contents = filled(MemoryFileSystem(), filter_bits_per_key=bits, hash_column_bytes=budget)
        with db:
            ask(db, contents, [*contents])
            assert bool(memory(db)) == bool(budget)
            before = db.stats().ledger.gets
            ask(db, contents, [*contents, *(key(n) for n in range(10**6, 10**6 + absent))], 3000)
            after = db.stats().ledger.gets - before
            counted.append(
                (after.found, after.filter_negatives, after.filter_false_positives, after.unfiltered_misses, after.block_fetches)
            )
    assert counted[0] == counted[1]


@settings(max_examples=15)
@given(st.data())
def test_random_stores(data: st.DataObject) -> None:
    """Whatever a store holds: finders come and go, and no answer differs from a dict's."""
    seed = data.draw(st.integers(0, 1 << 30))
    rng = random.Random(seed)
    widths = data.draw(st.sampled_from([(4,), (16,), (0, 1, 5), (24, 32)]))
    lengths = data.draw(st.sampled_from([(0,), (8,), (8, 9), (300,)]))
    policy = data.draw(st.sampled_from([Leveled(size_ratio=3), Tiered(size_ratio=3)]))
    db = small(
        MemoryFileSystem(),
        policy=policy,
        memtable_bytes=32 << 10,
        table_bytes=data.draw(st.sampled_from([8 << 10, 1 << 20])),
        block_cache_bytes=data.draw(st.sampled_from([16 << 10, 1 << 20])),
        compression=data.draw(st.sampled_from(["none", "zstd"])),
        max_open_tables=data.draw(st.sampled_from([2, 512])),
        level0_runs=2,
    )
    universe = sorted({rng.randbytes(rng.choice(widths)) for _ in range(700)})
    contents: dict[bytes, bytes] = {}
    with db:
        for step in range(4):
            deletes = rng.random() < 0.4
            for k in rng.sample(universe, len(universe) // 3):
                if deletes and rng.random() < 0.3:
                    db.delete(k)
                    contents.pop(k, None)
                else:
                    contents[k] = rng.randbytes(rng.choice(lengths))
                    db.put(k, contents[k])
            if rng.random() < 0.2:
                low, high = sorted(rng.sample(universe, 2))
                db.delete_range(low, high)
                contents = {k: v for k, v in contents.items() if not low <= k < high}
            snapshot = db.snapshot() if rng.random() < 0.3 else None
            then = dict(contents)
            if step % 2:
                db.compact()
            else:
                db.flush()
                db.settle()
            ask(db, contents, universe, FEWEST + 4 * PAUSE, seed=step)
            some = rng.sample(universe, min(40, len(universe)))
            assert db.get_many(some) == [contents.get(k) for k in some]
            assert db.contains_many(some).tolist() == [k in contents for k in some]
            if snapshot is not None:
                with snapshot:
                    assert snapshot.get_many(some) == [then.get(k) for k in some]
                    assert [snapshot.get(k) for k in some] == [then.get(k) for k in some]
            assert db.stats().cache_bytes <= db.options.block_cache_bytes


def test_a_key_that_looks_like_another_is_not_answered() -> None:
    """Two entries share a bucket and a tag: the seal tells them apart, and a third key with that tag is left to the block."""
    seed, seal_seed = 3, 4
    alike: dict[int, list[bytes]] = {}
    for n in range(3000):
        alike.setdefault(hash_of(b"%d" % n, seed) & 0xFF, []).append(b"%d" % n)
    tag, (one, two, three, *_) = next((t, keys) for t, keys in alike.items() if len(keys) > 2)
    other = next(keys[0] for t, keys in alike.items() if t != tag)
    records = b"".join(xxh3_64_digest(k + b"v" + k[-1:], seal_seed) + b"v" + k[-1:] for k in (one, two))
    finder = ([(array("H", [0, 2]), bytes([tag, tag]), records, 10)], 64, 64, 0, seed)
    assert lookup(finder, one, seal_seed) == b"v" + one[-1:]
    assert lookup(finder, two, seal_seed) == b"v" + two[-1:]
    assert lookup(finder, three, seal_seed) is None
    assert lookup(finder, other, seal_seed) is False
    assert lookup(finder, one, seal_seed + 1) is None
    places = ([(array("H", [0, 2]), bytes([tag, tag]), bytes(32), 0)], 64, 64, 0, seed)
    assert lookup(places, one, seal_seed) is None
    assert lookup(places, other, seal_seed) is False


def tables(fs: MemoryFileSystem) -> list[str]:
    return [f"/db/{name}" for name in fs.listdir("/db") if name.endswith(".sst")]


@pytest.mark.parametrize("when", ["before", "during"])
def test_damaged_bytes_are_never_answered(when: str) -> None:
    """A byte is changed before or while the finder is made: gets of the damaged block raise, all others are right."""
    rng = random.Random(8)
    for _ in range(25):
        fs = MemoryFileSystem()
        db, contents = filled(fs, 600, block_cache_bytes=1 << 20)
        with db:
            if when == "during":
                ask(db, contents, [*contents], FEWEST + 2)
            (path,) = tables(fs)
            size = db.tree().levels[-1].runs[0].tables[0].raw_bytes
            at = rng.randrange(size)
            file = fs.open(path, "rw")
            file.pwritev([bytes([file.pread(1, at)[0] ^ 1 << rng.randrange(8)])], at)
            damaged = 0
            for k in rng.choices([*contents], k=ENOUGH):
                try:
                    assert db.get(k) == contents[k]
                except CorruptionError:
                    damaged += 1
            assert damaged or when == "during"
            assert when == "during" or not memory(db)


def test_a_read_that_fails_while_one_is_made_delays_it() -> None:
    disk = FaultFileSystem(MemoryFileSystem())
    db, contents = filled(disk)
    with db:
        assert sum(1 for _ in db.scan()) == len(contents)  # every block is cached now: only making a finder reads
        for _ in range(3):
            rule = disk.add(FailOp("pread", path="*.sst"))
            ask(db, contents, [*contents])
            assert disk.hits(rule)
            assert not memory(db)
            disk.remove(rule)
        ask(db, contents, [*contents], 2 * ENOUGH)
        assert memory(db)


def test_only_where_all_values_fit_the_cache() -> None:
    db, contents = filled(MemoryFileSystem(), block_cache_bytes=12 << 10)
    with db:
        ask(db, contents, [*contents])
        assert not memory(db)
        assert db.stats().cache_bytes <= 12 << 10
        db.set_options(block_cache_bytes=1 << 20)
        ask(db, contents, [*contents])
        assert memory(db)
        for smaller in ({"block_cache_bytes": 12 << 10}, {"hash_column_bytes": 100}, {"block_cache_bytes": 0}):
            db.set_options(**smaller)
            assert not memory(db)
            assert db.stats().cache_bytes <= db.options.block_cache_bytes
            ask(db, contents, [*contents])
            assert not memory(db)
            db.set_options(block_cache_bytes=1 << 20, hash_column_bytes=1 << 20)
            ask(db, contents, [*contents], 2 * ENOUGH)
            assert memory(db)
            assert db.stats().cache_bytes <= 1 << 20


@pytest.mark.parametrize(("budget", "taken"), [(110_000, 40_000), (150_000, 145_744), (170_000, 145_744), (220_000, 177_744)])
def test_a_hash_column_and_a_finder_share_the_budget(budget: int, taken: int) -> None:
    """A finder takes room while a column is being made: the column gets what is left, its values only if they fit, too."""
    db, contents = filled(MemoryFileSystem(), 4000, hash_column_bytes=budget)
    rng = random.Random(3)
    with db:
        for turn in range(100):
            if turn == 36:  # the column is begun
                assert not memory(db)
                ask(db, contents, [*contents], 4000)
                assert memory(db) == 40_000
            some = rng.choices([*contents], k=40)
            assert db.get_many(some) == [contents[k] for k in some]
            assert memory(db) <= budget
        assert memory(db) == taken


def test_a_store_that_outgrows_its_cache_loses_them() -> None:
    """Values that nobody asks any more do not keep the cache from those that are asked."""
    db, contents = filled(MemoryFileSystem(), block_cache_bytes=64 << 10, hash_column_bytes=2 << 20)  # keeps no memtable
    with db:
        ask(db, contents, [*contents])
        assert memory(db)
        more = {b"\xff" + key(n, 15): b"%08d" % n for n in range(10**5, 10**5 + 6000)}
        db.put_many(more.items())
        db.flush()
        assert memory(db)
        ask(db, contents | more, [*more], 2000)
        assert not memory(db)
        ask(db, contents | more, [*contents, *more], 4000)
        assert not memory(db)
        assert 50 << 10 < db.stats().cache_bytes <= 64 << 10
        db.delete_many(more)
        db.compact()
        ask(db, contents, [*contents, *more])
        assert memory(db)


def test_what_a_finder_takes_is_given_back_with_its_table() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents])
        taken = memory(db)
        for turn in range(3):
            contents[key(turn)] = b"another%d" % turn
            db.put(key(turn), contents[key(turn)])
            db.compact()
            assert not memory(db)
            ask(db, contents, [*contents], FEWEST + PAUSE * turn)  # begun, and given up half-way
        ask(db, contents, [*contents])
        assert memory(db) == taken
        db.delete_range(None, None)
        db.compact()
        assert not memory(db)
        assert all(db.get(k) is None for k in contents)


@pytest.mark.parametrize("what", ["tombstone", "mixed values", "mixed keys", "older versions"])
def test_tables_that_it_cannot_serve_get_none(what: str) -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        odd = key(1, 9) if what == "mixed keys" else key(1)
        with db.snapshot():
            if what == "tombstone":
                db.delete(odd)
                contents.pop(odd)
            else:
                contents[odd] = b"%09d" % 1 if what == "mixed values" else b"%08d" % 77
                db.put(odd, contents[odd])
            db.compact()
            ask(db, contents, [*contents, odd], 2 * ENOUGH)
            assert not memory(db)


def test_an_older_version_in_the_next_block_is_not_answered() -> None:
    """Two versions of a key, kept for a snapshot, lie on both sides of a block's end: neither block holds a key twice."""
    for place in range(40):
        db, contents = filled(MemoryFileSystem(), 600)
        with db, db.snapshot():
            twice = sorted(contents)[place]
            contents[twice] = b"%08d" % 999_999
            db.put(twice, contents[twice])
            db.compact()
            ask(db, contents, [*contents])
            assert not memory(db)
            assert db.get(twice) == contents[twice]


def test_none_is_made_while_background_work_runs() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        with at_work():
            ask(db, contents, [*contents], 2 * ENOUGH)
            assert not memory(db)
        ask(db, contents, [*contents])
        assert memory(db)


def test_tables_take_turns() -> None:
    """Three tables are asked alike: each gets its finder; one that is asked no more does not keep the others from theirs."""
    db, contents = filled(MemoryFileSystem(), 6000, table_bytes=80 << 10, memtable_bytes=64 << 10)
    with db:
        first = db.tree().levels[-1].runs[0].tables
        assert len(first) > 2
        low = [k for k in contents if k <= first[0].largest]
        ask(db, contents, low, FEWEST + 5)
        assert memory(db)
        rest = [k for k in contents if k > first[0].largest]
        ask(db, contents, rest, 20 * len(first) * ENOUGH)
        assert memory(db) >= 10 * (len(rest) - 1)
        ask(db, contents, [*contents], 20 * ENOUGH)
        assert memory(db) == pytest.approx(10 * len(contents), rel=0.01)


def test_closed_tables_lose_theirs() -> None:
    db, contents = filled(MemoryFileSystem(), 4000, table_bytes=64 << 10, memtable_bytes=64 << 10)
    with db:
        ask(db, contents, [*contents], 10 * ENOUGH)
        full = memory(db)
        db.set_options(max_open_tables=1)
        assert memory(db) < 0.6 * full
        ask(db, contents, [*contents], 3000)


def test_readers_in_threads(tmp_path) -> None:  # type: ignore[no-untyped-def]  # pytest's
    """Gets beside writes, flushes and merges in other threads, on a real disk: never another key's value, never an old one."""
    options = lsmkv.Options(memtable_bytes=64 << 10, block_bytes=512, level0_runs=2, event_log=False)
    with lsmkv.open(tmp_path / "db", options) as db:
        keys = [key(n) for n in range(3000)]
        db.put_many([(k, k[:8] + b"%08d" % 0) for k in keys])
        wrong: list[object] = []
        done = [False]

        def read(seed: int) -> None:
            rng = random.Random(seed)
            seen = dict.fromkeys(keys, 0)
            while not done[0]:
                for k in rng.choices(keys, k=500):
                    value = db.get(k)
                    if value is None or value[:8] != k[:8] or int(value[8:]) < seen[k]:
                        wrong.append((k, value))
                        return
                    seen[k] = int(value[8:])

        threads = [Thread(target=read, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(1, 5):
                db.put_many([(k, k[:8] + b"%08d" % turn) for k in keys])
                db.compact()
                for k in keys:
                    assert db.get(k) == k[:8] + b"%08d" % turn
        finally:
            done[0] = True
            for thread in threads:
                thread.join()
        assert not wrong
