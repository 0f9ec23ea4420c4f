"""Single gets of values that do not fit the cache, by their place in the file: a dict's answers, and none that is damaged."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.errors import CorruptionError, IOFailedError
from lsmkv.live.finders import FEWEST, PAUSE
from lsmkv.sstable.finder import LEAST_PLACED, MOST_PLACED, PLACE_BYTES, extra_bytes
from lsmkv.testing import MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem
from tests.read.test_finders import ask, key, memory, small, tables

CACHE = 16 << 10
ENOUGH = FEWEST + 20 * PAUSE


def value(n: int, width: int = 100) -> bytes:
    return random.Random(-n - 1).randbytes(width)


def filled(fs: object, count: int = 1000, width: int = 100, **overrides: object) -> tuple[lsmkv.DB, dict[bytes, bytes]]:
    db = small(fs, **({"block_cache_bytes": CACHE} | overrides))
    contents = {key(n): value(n, width) for n in range(count)}
    db.put_many(contents.items())
    db.compact()
    return db, contents


def placed(db: lsmkv.DB, contents: dict[bytes, bytes]) -> bool:
    return memory(db) == extra_bytes(len(contents), placed=True)


def test_a_get_reads_the_value_and_nothing_around_it() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        assert extra_bytes(1, placed=True) == extra_bytes(1) + PLACE_BYTES
        ask(db, contents, [*contents])
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        before = db.stats().ledger.gets
        ask(db, contents, [*contents], 3000)
        after = db.stats().ledger.gets - before
        assert after.found == after.block_fetches == 3000
        assert after.block_bytes < 3000 * 130  # by blocks of 512 it is four times as much
        assert all(db.get(key(n)) is None for n in range(10**6, 10**6 + 500))
        assert db.stats().cache_bytes <= CACHE


def test_what_is_absent_is_known_without_a_read() -> None:
    db, contents = filled(MemoryFileSystem(), filter_bits_per_key=0.0)
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        before = db.stats().block_reads
        ask(db, contents, [key(n) for n in range(10**6, 10**6 + 1000)], 1000)
        assert db.stats().block_reads - before < 150  # tags that are alike, and the turns of blocks


@pytest.mark.parametrize("absent", [0, 300, 4000], ids=["all present", "some absent", "most absent"])
@pytest.mark.parametrize("bits", [0.0, 10.0], ids=["no filter", "filter"])
def test_counts_are_those_of_a_store_without(absent: int, bits: float) -> None:
    counted = []
    for budget in (0, 1 << 20):
        db, contents = filled(MemoryFileSystem(), filter_bits_per_key=bits, hash_column_bytes=budget)
        with db:
            ask(db, contents, [*contents], ENOUGH)
            assert placed(db, contents) == bool(budget)
            before = db.stats().ledger.gets
            ask(db, contents, [*contents, *(key(n) for n in range(10**6, 10**6 + absent))], 3000)
            after = db.stats().ledger.gets - before
            counted.append(
                (after.found, after.filter_negatives, after.filter_false_positives, after.unfiltered_misses, after.block_fetches)
            )
    assert counted[0] == counted[1]


@pytest.mark.parametrize(
    ("width", "overrides"),
    [
        (LEAST_PLACED - 1, {}),
        (MOST_PLACED + 1, {"block_bytes": 4096}),
        (100, {"hash_column_bytes": extra_bytes(1000, placed=True) - 1}),
        (100, {"block_cache_bytes": 0}),
        (100, {"compression": "zstd"}),
    ],
    ids=["small", "large", "no memory", "no cache", "compressed"],
)
def test_tables_that_get_none(width: int, overrides: dict[str, object]) -> None:
    fs = MemoryFileSystem()
    db, contents = filled(fs, width=width, **overrides)
    if "compression" in overrides:  # random bytes would be stored as they are
        contents = {k: k[:1] * width for k in contents}
        db.put_many(contents.items())
        db.compact()
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert not memory(db)


@pytest.mark.parametrize("width", [LEAST_PLACED, MOST_PLACED])
def test_widths_that_get_one(width: int) -> None:
    db, contents = filled(MemoryFileSystem(), width=width, block_bytes=4096)
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)


def test_hot_values_are_held_by_the_cache_beside_it() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        assert db.stats().cache_bytes > CACHE // 2


def test_with_room_for_the_values_it_leaves_its_place_to_a_finder_that_holds_them() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        db.set_options(block_cache_bytes=1 << 20)
        assert not memory(db)
        ask(db, contents, [*contents], ENOUGH)
        assert memory(db) == extra_bytes(len(contents))
        db.set_options(block_cache_bytes=CACHE)
        assert not memory(db)
        ask(db, contents, [*contents], 2 * ENOUGH)
        assert placed(db, contents)
        db.set_options(hash_column_bytes=100)
        assert not memory(db)
        ask(db, contents, [*contents], 100)


def test_it_goes_with_its_table() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        contents[key(1)] = value(-1)
        db.put(key(1), contents[key(1)])
        db.compact()
        assert not memory(db)
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)


def test_damaged_values_are_never_answered() -> None:
    """A byte is changed after the finder was made: a get of the damaged block raises or is right, all others are right."""
    rng = random.Random(8)
    damaged = 0
    for _ in range(25):
        fs = MemoryFileSystem()
        db, contents = filled(fs, 400)
        with db:
            ask(db, contents, [*contents], ENOUGH)
            assert placed(db, contents)
            (path,) = tables(fs)
            at = rng.randrange(db.tree().levels[-1].runs[0].tables[0].raw_bytes)
            file = fs.open(path, "rw")
            file.pwritev([bytes([file.pread(1, at)[0] ^ 1 << rng.randrange(8)])], at)
            for k in rng.choices([*contents], k=2000):
                try:
                    assert db.get(k) == contents[k]
                except CorruptionError:
                    damaged += 1
    assert damaged


def test_a_file_that_was_cut_off_answers_nothing_that_is_gone() -> None:
    fs = MemoryFileSystem()
    db, contents = filled(fs, 400)
    with db:
        ask(db, contents, [*contents], ENOUGH)
        (path,) = tables(fs)
        fs.open(path, "rw").truncate(9000)
        right = wrong = 0
        for k, expected in contents.items():
            try:
                assert db.get(k) == expected
                right += 1
            except (CorruptionError, IOFailedError):
                wrong += 1
        assert right
        assert wrong


def test_a_read_that_fails_is_told() -> None:
    disk = FaultFileSystem(MemoryFileSystem())
    db, contents = filled(disk)
    with db:
        ask(db, contents, [*contents], ENOUGH)
        rule = disk.add(FailOp("pread", path="*.sst"))
        failed = 0
        for k in [*contents][:50]:
            try:
                assert db.get(k) == contents[k]  # held by the cache
            except IOFailedError:
                failed += 1
        assert failed
        disk.remove(rule)
        ask(db, contents, [*contents], 500)


@settings(max_examples=12)
@given(st.data())
def test_random_stores(data: st.DataObject) -> None:
    """Whatever a store of wide values goes through, no answer differs from a dict's."""
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    width = data.draw(st.sampled_from([(4,), (16,), (24, 32)]))
    lengths = data.draw(st.sampled_from([(64,), (300,), (99, 100)]))
    db = small(
        MemoryFileSystem(),
        memtable_bytes=32 << 10,
        table_bytes=data.draw(st.sampled_from([8 << 10, 1 << 20])),
        block_cache_bytes=data.draw(st.sampled_from([CACHE, 64 << 10])),
        compression=data.draw(st.sampled_from(["none", "zstd"])),
        max_open_tables=data.draw(st.sampled_from([2, 512])),
        level0_runs=2,
    )
    universe = sorted({rng.randbytes(rng.choice(width)) for _ in range(600)})
    contents: dict[bytes, bytes] = {}
    with db:
        for step in range(4):
            for k in rng.sample(universe, len(universe) // 3):
                if step == 3 and rng.random() < 0.3:
                    db.delete(k)
                    contents.pop(k, None)
                else:
                    contents[k] = rng.randbytes(rng.choice(lengths))
                    db.put(k, contents[k])
            snapshot, then = db.snapshot(), dict(contents)
            if step % 2:
                db.compact()
            else:
                db.flush()
                db.settle()
            ask(db, contents, universe, ENOUGH, seed=step)
            some = rng.sample(universe, 40)
            assert db.get_many(some) == [contents.get(k) for k in some]
            with snapshot:
                assert [snapshot.get(k) for k in some] == [then.get(k) for k in some]
