"""Single gets of values that do not all fit the cache: some are in memory, the others read where the finder says they are."""

from __future__ import annotations

import random
from threading import Thread
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.errors import CorruptionError, IOFailedError
from lsmkv.live.finderroom import SHARE, SPARE
from lsmkv.live.finders import FEWEST, PAUSE
from lsmkv.sstable.finder import LEAST_PLACED, MOST_PLACED, PLACE_BYTES, Favourites, extra_bytes, hash_of
from lsmkv.sstable.rowreads import FAVOUR_EVERY
from lsmkv.testing import MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem
from tests.read.test_finders import ask, key, memory, small, tables

CACHE = 16 << 10
BUDGET = 200_000
ENOUGH = FEWEST + 20 * PAUSE


def value(n: int, width: int = 100) -> bytes:
    return random.Random(-n - 1).randbytes(width)


def filled(fs: object, count: int = 1000, width: int = 100, **overrides: object) -> tuple[lsmkv.DB, dict[bytes, bytes]]:
    db = small(fs, **({"block_cache_bytes": CACHE, "hash_column_bytes": BUDGET} | overrides))
    contents = {key(n): value(n, width) for n in range(count)}
    db.put_many(contents.items())
    db.compact()
    return db, contents


class Held(NamedTuple):
    """What the finders of a store hold."""

    whole: int
    """Values in memory."""
    places: int
    """Entries that have a place only."""
    favourites: int


def held(db: lsmkv.DB) -> Held:
    """Looks at the finders, and checks that what they take is exactly what the books say."""
    core = db._core
    whole = places = favourites = cached = other = 0
    for reader in list(core.tables.readers.values()):
        if reader.finder is None:
            assert not reader.favourites.most
            continue
        parts = reader.finder[0]
        assert all(len(records) == (size or 8 + PLACE_BYTES) * len(tags) for _, tags, records, size in parts)
        rows = sum(len(part[1]) for part in parts if part[3])
        bare = sum(len(part[1]) for part in parts if not part[3])
        assert rows + bare == reader.properties.meta.entries
        most = reader.favourites.most
        each = reader.placed_width if bare or most else parts[0][3] - 8
        cached += rows * each + most * Favourites.charge(reader.properties.key_width, each)
        other += extra_bytes(rows + bare) + PLACE_BYTES * bare
        assert len(reader.favourites) <= most
        assert not [k for k in reader.favourites if reader.favourites[k] != db.get(k)]
        whole, places, favourites = whole + rows, places + bare, favourites + most
    lent, more = core.cache.lent, core.tables.directory.lent
    assert core.tables.finders._making is not None or lent + more == cached + other
    assert 0 <= more <= db.options.hash_column_bytes
    assert 0 <= db.stats().cache_bytes <= db.options.block_cache_bytes
    return Held(whole, places, favourites)


def placed(db: lsmkv.DB, contents: dict[bytes, bytes]) -> bool:
    """Every entry has a place finder, which has something to do."""
    found = held(db)
    return found.whole + found.places == len(contents) and found.places > 0


def test_of_a_store_that_is_too_large_the_share_that_fits_is_in_memory() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents], ENOUGH)
        found = held(db)
        assert found.whole + found.places == len(contents)
        room = SHARE * CACHE + SPARE * BUDGET
        assert 0.75 * room < 100 * found.whole <= room
        before = db.stats().ledger.gets
        ask(db, contents, [*contents], 3000)
        after = db.stats().ledger.gets - before
        assert after.found == after.block_fetches == 3000
        assert after.block_reads == pytest.approx(3000 * found.places / len(contents), rel=0.1)
        assert after.block_bytes < after.block_reads * 120  # the value and nothing around it, but where two tags are alike
        assert all(db.get(key(n)) is None for n in range(10**6, 10**6 + 500))


def test_what_is_absent_is_known_without_a_read() -> None:
    db, contents = filled(MemoryFileSystem(), filter_bits_per_key=0.0)
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        before = db.stats().block_reads
        ask(db, contents, [key(n) for n in range(10**6, 10**6 + 1000)], 1000)
        assert db.stats().block_reads - before < 200  # where tags are alike, and there is no filter


def test_what_is_asked_most_is_read_no_more() -> None:
    db, contents = filled(MemoryFileSystem(), 4000, block_cache_bytes=256 << 10)
    with db:
        ask(db, contents, [*contents], 3 * ENOUGH)
        found = held(db)
        assert found.places
        assert found.favourites > 20
        (reader,) = db._core.tables.readers.values()
        parts, shift, _, _, seed = reader.finder
        bare = [k for k in contents if not parts[hash_of(k, seed) >> shift][3]]
        assert len(bare) == found.places
        hot = bare[:8]
        ask(db, contents, hot, 20 * FAVOUR_EVERY * len(hot))
        before = db.stats().ledger.gets
        ask(db, contents, hot, 1000)
        after = db.stats().ledger.gets - before
        assert after.found == after.block_fetches == 1000
        assert not after.block_reads
        assert {*hot} <= {*reader.favourites}
        ask(db, contents, bare, 3 * FAVOUR_EVERY * found.favourites)  # others come in: they go, and come again
        ask(db, contents, hot, 20 * FAVOUR_EVERY * len(hot))
        assert {*hot} <= {*reader.favourites}
        held(db)
        contents[hot[0]] = value(-1)
        db.put(hot[0], contents[hot[0]])
        db.delete_range(hot[1], hot[1] + b"\0")
        del contents[hot[1]]
        ask(db, contents, hot, 100)
        db.flush()
        ask(db, contents, hot, 100)
        db.compact()
        ask(db, contents, hot, 100)


@pytest.mark.parametrize("absent", [0, 300, 4000], ids=["all present", "some absent", "most absent"])
@pytest.mark.parametrize("bits", [0.0, 10.0], ids=["no filter", "filter"])
def test_counts_are_those_of_a_store_without(absent: int, bits: float) -> None:
    counted = []
    for budget in (0, BUDGET):
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
        (100, {"hash_column_bytes": extra_bytes(1000) - 1}),
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


def test_with_room_for_the_values_it_leaves_its_place_to_a_finder_that_holds_them() -> None:
    db, contents = filled(MemoryFileSystem())
    with db:
        ask(db, contents, [*contents], ENOUGH)
        assert placed(db, contents)
        db.set_options(block_cache_bytes=1 << 20)
        assert not memory(db)
        ask(db, contents, [*contents], ENOUGH)
        assert held(db) == Held(len(contents), 0, 0)
        assert memory(db) == extra_bytes(len(contents))
        db.set_options(block_cache_bytes=CACHE)
        assert not memory(db)
        ask(db, contents, [*contents], 2 * ENOUGH)
        assert placed(db, contents)
        db.set_options(hash_column_bytes=100)
        assert held(db) == Held(0, 0, 0)
        assert not memory(db)
        assert not db._core.cache.lent
        ask(db, contents, [*contents], 100)


def test_tables_share_the_memory_when_the_store_grows() -> None:
    """The first table has all the room: it gives most of it up once a larger one is asked, and comes again with its share."""
    db, contents = filled(MemoryFileSystem(), block_cache_bytes=4 * CACHE)
    with db:
        ask(db, contents, [*contents], ENOUGH)
        alone = held(db).whole
        more = {b"\xff" + key(n, 15): value(n) for n in range(10**5, 10**5 + 3000)}
        db.put_many(more.items())
        db.flush()
        ask(db, contents | more, [*more], 3 * ENOUGH)
        ask(db, contents | more, [*contents, *more], 20 * ENOUGH)
        assert placed(db, contents | more)
        (one, other) = sorted(db._core.tables.readers.values(), key=lambda reader: reader.properties.meta.smallest)
        assert one.properties.meta.entries < other.properties.meta.entries
        shares = [
            sum(len(part[1]) for part in reader.finder[0] if part[3]) / reader.properties.meta.entries for reader in (one, other)
        ]
        assert shares[0] == pytest.approx(shares[1], rel=0.4)
        assert 0 < shares[0] < alone / len(contents)


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
        db, contents = filled(fs, 400, hash_column_bytes=20_000)
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
    db, contents = filled(fs, 400, hash_column_bytes=20_000)
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


@settings(max_examples=8)
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
        hash_column_bytes=data.draw(st.sampled_from([10_000, BUDGET, 1 << 20])),
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
            ask(db, contents, universe[:7], 10 * FAVOUR_EVERY, seed=step)
            held(db)
            some = rng.sample(universe, 40)
            assert db.get_many(some) == [contents.get(k) for k in some]
            with snapshot:
                assert [snapshot.get(k) for k in some] == [then.get(k) for k in some]


def test_a_value_that_was_cut_off_is_not_taken_for_one_of_a_longer_key() -> None:
    """Key and part of a value are the bytes of a longer key and less of a value: only the length tells them apart."""
    fs = MemoryFileSystem()
    width = LEAST_PLACED
    contents = {b"%02d" % n: bytes(width) for n in range(20)}
    db = small(fs, block_bytes=4096, block_cache_bytes=1 << 10, filter_bits_per_key=0.0, hash_column_bytes=1 << 10)
    with db:
        db.put_many(contents.items())
        db.compact()
        ask(db, contents, [*contents], ENOUGH)
        assert held(db) == Held(0, 20, 0)
        db._core.cache.clear()
        (path,) = tables(fs)
        data = fs.open(path).pread(1 << 20, 0)
        first = data.index(bytes(20 * width))
        told = 0
        for n in range(18, 14, -1):
            for more in range(1, width):
                fs.open(path, "rw").truncate(first + (n + 1) * width - more)
                try:
                    assert db.get(b"%02d" % n + bytes(more)) is None
                except CorruptionError:
                    told += 1
        assert told


def test_readers_in_threads(tmp_path) -> None:  # type: ignore[no-untyped-def]  # pytest's
    """Gets beside writes, flushes and merges in other threads: never another key's value, never an old one."""
    options = lsmkv.Options(
        memtable_bytes=128 << 10,
        block_bytes=512,
        level0_runs=2,
        event_log=False,
        block_cache_bytes=64 << 10,
        hash_column_bytes=BUDGET,
        helper_process=False,
    )
    with lsmkv.open(tmp_path / "db", options) as db:
        keys = [key(n) for n in range(2000)]
        db.put_many([(k, k * 6 + b"%08d" % 0) for k in keys])
        wrong: list[object] = []
        done = [False]

        def read(seed: int) -> None:
            rng = random.Random(seed)
            hot = rng.sample(keys, 20)
            seen = dict.fromkeys(keys, 0)
            while not done[0]:
                for k in rng.choices(keys, k=250) + rng.choices(hot, k=250):
                    found = db.get(k)
                    if found is None or found[:-8] != k * 6 or int(found[-8:]) < seen[k]:
                        wrong.append((k, found))
                        return
                    seen[k] = int(found[-8:])

        threads = [Thread(target=read, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(1, 4):
                db.put_many([(k, k * 6 + b"%08d" % turn) for k in keys])
                db.compact()
                for k in keys * 2:
                    assert db.get(k) == k * 6 + b"%08d" % turn
        finally:
            done[0] = True
            for thread in threads:
                thread.join()
        assert not wrong
