"""Random batches by hash columns: the answers are those of a dict, the counts those of a store without columns."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmh3 import mmh3_x64_128_digest

import lsmkv
from lsmkv import Fluid, Leveled, Tiered
from lsmkv.env.rng import seeded
from lsmkv.errors import CorruptionError, IOFailedError
from lsmkv.live.directory import FEWEST
from lsmkv.sstable.hashcolumn import GAP
from lsmkv.testing import CountingFileSystem, ManualScheduler, MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem

SIZE = 2 * FEWEST


ABSENT = 1 << 40
"""Added to the numbers of keys that are in no store."""


def key(n: int, width: int = 16) -> bytes:
    """Key ``n``; a negative one is in no store (a seed counts without its sign: -n alone would be key n again)."""
    return random.Random(n if n >= 0 else ABSENT - n).randbytes(width)


def small(fs: object, path: str = "/db", **overrides: object) -> lsmkv.DB:
    chosen: dict[str, object] = {
        "fs": fs,
        "scheduler": ManualScheduler(),
        "rng": seeded(1),
        "memtable_bytes": 16 << 10,
        "table_bytes": 16 << 10,
        "block_bytes": 512,
        "level0_runs": 2,
        "event_log": False,
        "status_interval_s": None,
    }
    return lsmkv.open(path, lsmkv.Options(**(chosen | overrides)))  # type: ignore[arg-type]  # overrides are the test's own


def filled(fs: object, count: int = 1200, **overrides: object) -> tuple[lsmkv.DB, dict[bytes, bytes]]:
    db = small(fs, **overrides)
    contents = {key(n): b"%08d" % n for n in range(count)}
    pairs = [*contents.items()]
    for start in range(0, count, 100):
        db.put_many(pairs[start : start + 100])
    db.flush()
    db.settle()
    return db, contents


def ask(
    db: lsmkv.DB, keys: list[bytes], rounds: int = 60, seed: int = 7, size: int = SIZE
) -> list[tuple[list[bytes], list[bytes | None]]]:
    """Random batches, as many as it takes to make columns."""
    rng = random.Random(seed)
    asked = [rng.choices(keys, k=size) for _ in range(rounds)]
    return [(batch, db.get_many(batch)) for batch in asked]


def assert_right(db: lsmkv.DB, contents: dict[bytes, bytes], keys: list[bytes], rounds: int = 60) -> None:
    for batch, values in ask(db, keys, rounds):
        assert values == [contents.get(k) for k in batch]
    rng = random.Random(3)
    some = rng.choices(keys, k=SIZE)
    assert db.contains_many(some).tolist() == [k in contents for k in some]


POLICIES = {"one run": Leveled(size_ratio=4), "runs": Tiered(size_ratio=6), "fluid": Fluid(size_ratio=4, K=2, Z=2)}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("budget", [64 << 10, 8 << 20], ids=["some fit", "values held"])
def test_answers_are_those_of_a_dict(policy: lsmkv.Policy, budget: int) -> None:
    db, contents = filled(MemoryFileSystem(), 3000, policy=policy, hash_column_bytes=budget)
    with db:
        keys = [*contents, *(key(n) for n in range(-500, 0))]
        assert_right(db, contents, keys, 250)
        assert 0 < db.stats().hash_column_bytes <= budget


def test_columns_are_made_only_where_batches_ask_and_none_without_a_budget() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        for k in [*contents][:400]:  # more of them would get a finder
            db.get(k)
        ask(db, [*contents], 300, size=FEWEST - 1)
        assert db.stats().hash_column_bytes == 0
        ask(db, [*contents])
        assert db.stats().hash_column_bytes > 0
        db.set_options(hash_column_bytes=0)
        assert db.stats().hash_column_bytes == 0
        ask(db, [*contents])
        assert db.stats().hash_column_bytes == 0


def test_what_is_written_later_is_found_too() -> None:
    """Overwritten, deleted and new keys, in the memtable, in tables without a column, and after their compaction."""
    db, contents = filled(MemoryFileSystem(), 1500)
    with db:
        rng = random.Random(5)
        keys = [*contents, *(key(n) for n in range(5000, 5300))]
        assert_right(db, contents, keys)
        for step in range(6):
            for k in rng.sample(keys, 150):
                if rng.random() < 0.5:
                    db.delete(k)
                    contents.pop(k, None)
                else:
                    contents[k] = b"new%05d" % step
                    db.put(k, contents[k])
            assert_right(db, contents, keys, 20)
            if step % 2:
                db.flush()
            assert_right(db, contents, keys, 20)
            if step == 3:
                db.settle()
        db.compact()
        assert_right(db, contents, keys, 80)
        assert db.stats().hash_column_bytes > 0


def test_values_of_other_widths_tombstones_and_old_versions() -> None:
    """What a column cannot say is found by the way of single keys."""
    db = small(MemoryFileSystem(), policy=Tiered(size_ratio=8))
    with db:
        contents: dict[bytes, bytes] = {}
        rng = random.Random(1)
        for n in range(2000):
            k = key(n % 1400, 8 + n % 3)
            contents[k] = b"x" * rng.choice([8, 8, 8, 8, 9, 0])
            db.put(k, contents[k])
            if n == 700:
                pin = db.snapshot()
                then = dict(contents)
            if n % 11 == 0:
                gone = rng.choice([*contents])
                db.delete(gone)
                del contents[gone]
        db.flush()
        keys = [*contents, *then, *(key(n) for n in range(-200, 0))]
        assert_right(db, contents, keys, 150)
        assert db.stats().hash_column_bytes > 0
        with pin:
            some = rng.choices(keys, k=SIZE)
            assert pin.get_many(some) == [then.get(k) for k in some]
        db.delete_range(b"\x20", b"\x90")
        contents = {k: v for k, v in contents.items() if not b"\x20" <= k < b"\x90"}
        assert_right(db, contents, keys, 40)


@pytest.mark.parametrize("budget", [24 << 10, 8 << 20], ids=["from the file", "held"])
def test_one_that_is_different_does_not_spoil_its_block(budget: int) -> None:
    """A tombstone or a longer value among others: theirs are found by themselves as before."""
    disk = CountingFileSystem(MemoryFileSystem())
    db = small(disk, policy=Tiered(size_ratio=8), memtable_bytes=1 << 20, hash_column_bytes=budget, block_cache_bytes=0)
    with db:
        contents = {key(n): b"longer than most" if n % 15 == 3 else b"%08d" % n for n in range(800)}
        db.put_many([*contents.items()])
        gone = [k for i, k in enumerate(contents) if i % 15 == 7]
        db.delete_many(gone)
        db.flush()
        assert_right(db, {k: v for k, v in contents.items() if k not in gone}, [*contents])
        assert 0 < db.stats().hash_column_bytes <= budget
        most = [k for k, v in contents.items() if len(v) == 8 and k not in gone]
        random.Random(1).shuffle(most)
        before = disk.bytes("read", "*.sst")
        assert db.get_many(most) == [contents[k] for k in most]
        assert disk.bytes("read", "*.sst") - before == (0 if budget == 8 << 20 else 8 * len(most))


def test_the_empty_key_is_a_key_like_any_other() -> None:
    db, contents = filled(MemoryFileSystem(), 300)
    with db:
        contents[b""] = b"%08d" % 0
        db.put(b"", contents[b""])
        db.compact()
        assert_right(db, contents, [*contents, b""], 60)
        assert db.get_many([b"", *[*contents][: SIZE - 1]])[0] == contents[b""]
        assert db.stats().hash_column_bytes > 0


def test_columns_go_with_their_tables() -> None:
    db, contents = filled(MemoryFileSystem(), policy=Leveled(size_ratio=4))
    with db:
        ask(db, [*contents])
        before = db.stats().hash_column_bytes
        assert before > 0
        db.delete_range(None, None)
        db.compact()
        assert db.stats().hash_column_bytes < before / 10
        assert ask(db, [*contents], 2)[0][1] == [None] * SIZE


@pytest.mark.parametrize("budget", [0, 20 << 10, 8 << 20], ids=["none", "from the file", "held"])
def test_a_damaged_value_is_never_believed(budget: int) -> None:
    fs = MemoryFileSystem()
    db, contents = filled(
        fs, 600, hash_column_bytes=budget, block_cache_bytes=0, policy=Leveled(size_ratio=4), table_bytes=1 << 20
    )
    with db:
        ask(db, [*contents])
        (name,) = [name for name in fs.listdir("/db") if name.endswith(".sst")]
        file = fs.open(f"/db/{name}", "rw")
        data = bytearray(file.pread(file.size(), 0))
        at = data.index(contents[key(77)])
        file.pwritev([bytes([data[at] ^ 1])], at)
        file.close()
        others = [k for k in contents if k != key(77)]
        batch = [*random.Random(2).sample(others, SIZE - 1), key(77)]
        try:
            assert db.get_many(batch) == [contents[k] for k in batch]
            assert budget == 8 << 20
        except CorruptionError:
            assert budget < 8 << 20


def crowded(count: int) -> list[bytes]:
    """Keys whose hashes begin with the same eight bits."""
    rng = random.Random(4)
    keys: list[bytes] = []
    while len(keys) < count:
        chosen = rng.randbytes(16)
        if not mmh3_x64_128_digest(chosen)[7]:
            keys.append(chosen)
    return keys


def test_keys_chosen_to_share_a_bucket_get_no_column() -> None:
    """Every lookup would look at all of them."""
    keys = crowded(4 * GAP)
    with small(MemoryFileSystem()) as db:
        db.put_many([(k, b"%08d" % i) for i, k in enumerate(keys)])
        db.flush()
        assert_right(db, {k: b"%08d" % i for i, k in enumerate(keys)}, keys)
        assert db.stats().hash_column_bytes == 0


def test_columns_never_take_more_than_their_budget() -> None:
    made = set()
    for budget in range(20_000, 26_000, 40):
        db, contents = filled(MemoryFileSystem(), 600, hash_column_bytes=budget)
        with db:
            ask(db, [*contents])
            assert db.stats().hash_column_bytes <= budget
            made.add(db.stats().hash_column_bytes)
    assert len(made) > 1


def half_made(fs: object, path: str = "/db") -> tuple[lsmkv.DB, list[bytes]]:
    """A store with one large table whose column has been begun, and its keys."""
    db = small(fs, path=path, memtable_bytes=4 << 20, table_bytes=4 << 20)
    keys = [key(n) for n in range(6000)]
    db.put_many([(k, b"%08d" % i) for i, k in enumerate(keys)])
    db.flush()
    ask(db, keys, 50)
    assert db.stats().ledger.gets.unfiltered_reads > 0
    assert db.stats().hash_column_bytes == 0
    return db, keys


def test_a_smaller_budget_holds_for_a_column_that_is_being_made() -> None:
    db, keys = half_made(MemoryFileSystem())
    with db:
        db.set_options(hash_column_bytes=20_000)
        ask(db, keys, 200)
        assert db.stats().hash_column_bytes == 0
        db.set_options(hash_column_bytes=1 << 20)
        ask(db, keys, 200)
        assert db.stats().hash_column_bytes > 0


def test_closing_lets_go_of_a_column_that_is_being_made(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    db, _ = half_made(None, path)
    db.close()
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    assert not [link for link in links if os.path.islink(link) and os.readlink(link).startswith(path)]


def test_dropped_columns_are_not_kept_for_the_next_batch() -> None:
    db, contents = filled(MemoryFileSystem(), 12_000, table_bytes=1 << 20, memtable_bytes=1 << 20, block_cache_bytes=0)
    keys = [*contents]
    del contents
    with db:
        ask(db, keys, 4)
        gc.collect()
        tracemalloc.start()
        try:
            while not db.stats().hash_column_bytes:
                db.get_many(keys[:: len(keys) // SIZE][:SIZE])
            column = db.stats().hash_column_bytes
            assert column > 300_000
            db.get_many(keys[:: len(keys) // SIZE][:SIZE])
            db.delete_range(None, None)
            db.compact()
            assert db.stats().hash_column_bytes == 0
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < column / 2
        finally:
            tracemalloc.stop()


def test_making_a_column_takes_little_more_than_the_column() -> None:
    """Objects for each hash would take five times as much, whatever the budget."""
    db, keys = half_made(MemoryFileSystem())
    with db:
        directory = db._core.tables.directory  # not the statistics: they are objects, too
        gc.collect()
        tracemalloc.start()
        try:
            while not directory.taken:
                db.get_many(keys[:: len(keys) // SIZE][:SIZE])
            assert tracemalloc.get_traced_memory()[1] < 3 * directory.taken
        finally:
            tracemalloc.stop()


def test_what_a_batch_takes_beside_its_values_is_bounded() -> None:
    db, contents = filled(MemoryFileSystem(), 8000, policy=Tiered(size_ratio=8))
    with db:
        keys = [*contents]
        ask(db, keys, 100, size=256)
        batch = random.Random(1).choices(keys, k=60_000)
        want = [contents[k] for k in batch]
        assert db.get_many(batch) == want
        tracemalloc.start()
        try:
            assert len(db.get_many(batch)) == len(batch)
            assert tracemalloc.get_traced_memory()[1] < 100 * len(batch)
        finally:
            tracemalloc.stop()


def test_a_read_that_fails_is_an_error_of_the_call() -> None:
    disk = FaultFileSystem(MemoryFileSystem())
    db, contents = filled(disk, 600, hash_column_bytes=20 << 10, block_cache_bytes=0, policy=Leveled(size_ratio=4))
    with db:
        ask(db, [*contents])
        assert db.stats().hash_column_bytes > 0
        disk.add(FailOp("pread", path="*.sst", times=1))
        with pytest.raises(IOFailedError, match=r"\.sst"):
            db.get_many(random.Random(2).sample([*contents], SIZE))
        assert_right(db, contents, [*contents], 3)


def test_a_read_that_fails_while_a_column_is_made_only_delays_it() -> None:
    disk = FaultFileSystem(MemoryFileSystem())
    db, keys = half_made(disk)
    with db:
        others = [bytes(8) + b"%d" % n for n in range(SIZE)]  # below the table: only the making of its column reads
        disk.add(FailOp("pread", path="*.sst", times=1))
        assert db.get_many(others) == [None] * SIZE
        ask(db, keys, 20)
        assert db.stats().hash_column_bytes == 0, "begun anew"
        ask(db, keys, 200)
        assert db.stats().hash_column_bytes > 0


COUNTS = ("filter_checks", "filter_negatives", "filter_false_positives", "unfiltered_misses", "found")


@pytest.mark.parametrize("bits", [0.0, 3.0, 10.0])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_counts_are_those_of_a_store_without_columns(policy: lsmkv.Policy, bits: float) -> None:
    told, fetched = [], []
    for budget in (0, 8 << 20):
        db, contents = filled(MemoryFileSystem(), 2000, policy=policy, filter_bits_per_key=bits, hash_column_bytes=budget)
        with db:
            keys = [*contents, *(key(n) for n in range(-800, 0)), b"", b"\xff" * 20]
            ask(db, keys, 200)
            ask(db, keys, 40, seed=9)
            gets = db.stats().ledger.gets
            told.append({name: getattr(gets, name) for name in COUNTS} | {"absent": db.stats().ledger.absent})
            fetched.append(gets.block_fetches)
            assert (db.stats().hash_column_bytes > 0) == bool(budget)
    assert told[0] == told[1]
    assert fetched[0] <= fetched[1]  # run by run, the keys of one block are one fetch


@pytest.mark.parametrize("budget", [20 << 10, 100 << 10])
@pytest.mark.parametrize("deleted", [False, True], ids=["all there", "some deleted"])
def test_reads_are_what_the_disk_did(budget: int, deleted: bool) -> None:
    """A tombstone is nowhere in the file: to learn that of its column reads nothing."""
    disk = CountingFileSystem(MemoryFileSystem())
    db, contents = filled(disk, 2000, policy=Tiered(size_ratio=6), hash_column_bytes=budget, block_cache_bytes=0)
    with db:
        if deleted:
            db.delete_many([*contents][::7])
            db.flush()
        before, start = db.stats().ledger, disk.calls("read", "*.sst")
        start_bytes = disk.bytes("read", "*.sst")
        ask(db, [*contents, *(key(n) for n in range(-300, 0))], 150)
        spent = db.stats().ledger - before
        gets = spent.gets
        own = gets.block_reads - gets.joined_reads + gets.unfiltered_reads
        assert own + spent.opens.reads == disk.calls("read", "*.sst") - start
        assert gets.block_bytes + spent.opens.read_bytes == disk.bytes("read", "*.sst") - start_bytes


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_mix_of_keys_and_values(data: st.DataObject) -> None:
    """Widths, repeats, deletions and batches of all kinds, over several runs."""
    widths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    lengths = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=2))
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    pool = [rng.randbytes(rng.choice(widths)) for _ in range(400)]
    budget = data.draw(st.sampled_from([20 << 10, 1 << 20]))
    contents: dict[bytes, bytes] = {}
    with small(MemoryFileSystem(), memtable_bytes=4 << 10, hash_column_bytes=budget, policy=Tiered(size_ratio=5)) as db:
        for _ in range(data.draw(st.integers(1, 5))):
            for k in rng.choices(pool, k=120):
                if rng.random() < 0.1:
                    db.delete(k)
                    contents.pop(k, None)
                else:
                    contents[k] = rng.randbytes(rng.choice(lengths))
                    db.put(k, contents[k])
            if rng.random() < 0.7:
                db.flush()
            if rng.random() < 0.3:
                db.settle()
            for _ in range(25):
                batch = rng.choices(pool, k=rng.choice([FEWEST, 70]))
                assert db.get_many(batch) == [contents.get(k) for k in batch]


def test_threads_ask_while_tables_come_and_go() -> None:
    """No wrong answer and no lost count: every key asked is found or absent."""
    db, contents = filled(MemoryFileSystem(), 3000, policy=Tiered(size_ratio=4))
    keys = [*contents]
    wrong: list[object] = []

    def reader(seed: int) -> None:
        for batch, values in ask(db, keys, 150, seed):
            if values != [contents[k] for k in batch]:
                wrong.append((batch, values))

    with db:
        threads = [Thread(target=reader, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            db.put_many([(k, contents[k]) for k in keys[:400]])  # the same again
            db.flush()
            db.compact()
        for thread in threads:
            thread.join()
        assert not wrong
        assert_right(db, contents, keys, 100)
        assert db.stats().hash_column_bytes > 0


FIRST = """
import random, sys, lsmkv
from tests.read.test_hash_columns import ask, filled, key
from lsmkv.testing import MemoryFileSystem
db, contents = filled(MemoryFileSystem(), policy=lsmkv.Tiered(size_ratio=4))
contents |= dict.fromkeys([*contents][::3], b"of another width")
db.put_many(contents.items())
db.flush()
db.settle()
keys = [*contents, *(key(n) for n in range(-500, 0))]
asked = ask(db, keys)
assert all(values == [contents.get(k) for k in batch] for batch, values in asked)
assert db.stats().hash_column_bytes and max(len(run.tables) for level in db.tree().levels for run in level.runs) > 1
print("numpy.ma" in sys.modules)
"""


def test_the_first_columns_of_a_process_import_nothing() -> None:
    """Bug: ``np.unique`` imports numpy.ma when it is first called: tens of milliseconds in the middle of somebody's batch."""
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run([sys.executable, "-c", FIRST], check=True, capture_output=True, text=True, cwd=root)
    assert told.stdout.split() == ["False"]
