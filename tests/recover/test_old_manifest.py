"""A manifest that was overtaken: opening refuses rather than remove what only newer tables hold, and repair takes it in.

And the other way round: whatever a crash leaves, opening goes on.
"""

from __future__ import annotations

import random

import pytest

import lsmkv
from lsmkv.base.counters import Counters
from lsmkv.sstable.builder import TableBuilder
from lsmkv.sstable.reader import TableReader
from lsmkv.testing import MemoryFileSystem
from tests.power import cut_before

from .damaged import KEYS, answers, copy, fill, image, judge, logs, options, read, tables, truth, write
from .test_repair_power_cuts import repair_until


def two_lives(change, *, clean=True):
    """A store with the manifest of its first life and the files of its second."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    with lsmkv.open("/s", options(fs)) as db:
        db.put_many((key, b"old") for key in KEYS[:60])
    old = read(fs, "/s/MANIFEST")
    db = lsmkv.open("/s", options(fs))
    change(db)
    if clean:
        db.close()
    left = copy(fs)
    if not clean:
        db.close()
    write(left, "/s/MANIFEST", old)
    return left


def puts(db):
    db.put_many((key, b"new") for key in KEYS)


def puts_and_more(db):
    puts(db)
    db.flush()
    db.put(KEYS[0], b"new")
    db.sync()


def puts_and_an_empty_log(db):
    puts(db)
    db.flush()


def puts_twice(db):
    db.put_many((key, b"newer") for key in KEYS)
    db.flush()
    puts(db)
    db.flush()


def puts_and_compacts(db):
    puts_twice(db)
    db.compact()


def overwrites_some_and_compacts(db):
    """The new tables hold old entries, too, and the old ones are gone."""
    db.put_many((key, b"new") for key in KEYS[30:])
    db.flush()
    db.compact()


def overwrites_some_and_merges(db):
    """As before, but some old tables are still there."""
    db.put_many((key, b"new") for key in KEYS[30:])
    db.flush()
    db.compact(KEYS[50], None)


CHANGES = [
    puts,
    puts_and_more,
    puts_and_an_empty_log,
    puts_twice,
    puts_and_compacts,
    overwrites_some_and_compacts,
    overwrites_some_and_merges,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("clean", [True, False])
def test_an_old_manifest_is_found_out_and_nothing_is_lost(change, clean):
    if change is puts and not clean:
        return  # all of it is in the log: nothing to find out
    fs = two_lives(change, clean=clean)
    before = image(fs)
    with pytest.raises(lsmkv.CorruptionError) as caught:
        lsmkv.open("/s", options(fs))
    assert any(told in str(caught.value) for told in ("no crash explains", "durable", "missing"))
    assert {name: data for name, data in image(fs).items() if name in before} == before
    assert not lsmkv.verify("/s", fs).ok
    report = lsmkv.repair("/s", fs)
    assert report.manifest == "rebuilt"
    assert report.found[0].file == "/s/MANIFEST"
    assert report.losses == ()
    assert report.doubts
    old = 30 if change in (overwrites_some_and_compacts, overwrites_some_and_merges) else 0
    assert answers(fs) == {key: b"old" if i < old else b"new" for i, key in enumerate(KEYS)}


def test_the_policy_of_the_old_manifest_stays():
    fs = two_lives(lambda db: (puts(db), db.set_policy(lsmkv.Tiered(size_ratio=4))))
    lsmkv.repair("/s", fs)
    assert b'"leveled"' in read(fs, "/s/MANIFEST")


def test_removed_logs_are_no_crash_either():
    """A flush came to its table and not to its edit, and somebody removed the logs: the table is all there is."""
    fs = unfinished_flush()
    for log in logs(fs):
        fs.unlink(log)
    with pytest.raises(lsmkv.CorruptionError, match=r"no crash explains this table.*lsmkv\.repair"):
        lsmkv.open("/s", options(fs))
    assert lsmkv.repair("/s", fs).losses == ()
    assert answers(fs) == dict.fromkeys(KEYS, b"new")


def unfinished_flush():
    """The disk of a process that was killed between the table of a flush and its edit."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    fs.sync_dir("/")
    db = lsmkv.open("/s", options(fs))
    puts(db)
    left = []

    def hook(op, path):
        if op == "pwritev" and path == "/s/MANIFEST" and not left:
            left.append(copy(fs))

    fs.on_op = hook
    db.flush()
    fs.on_op = None
    db.close()
    return left[0]


def test_the_table_of_an_unfinished_flush_is_removed_and_its_log_replayed():
    fs = unfinished_flush()
    (orphan,) = tables(fs)
    with lsmkv.open("/s", options(fs)) as db:
        assert any(orphan in line for line in db.stats().recovery)
        assert db.get_many(KEYS) == [b"new"] * len(KEYS)


def test_commits_that_only_an_unfinished_flush_kept_were_never_durable():
    """A power cut took the log's contents, not its name: what the table holds was never acknowledged as durable."""
    fs = unfinished_flush()
    for log in logs(fs):
        write(fs, log, b"")
    with lsmkv.open("/s", options(fs)) as db:
        assert db.get_many(KEYS) == [None] * len(KEYS)


def test_a_table_begun_before_the_last_edit_is_a_leftover():
    """It was being written when the edit was: an edit draws a number above all that were drawn before."""
    fs, other = MemoryFileSystem(), MemoryFileSystem()
    for disk in (fs, other):
        disk.mkdir("/s")
        with lsmkv.open("/s", options(disk)) as db:
            for i in range(4):
                db.put(b"%d" % i, b"")
                db.flush()
            if disk is other:
                db.put_many((key, b"") for key in KEYS)
                db.compact()
    stranger = max(tables(other))
    old = next(name for name in ("/s/000003.sst", "/s/000004.sst", "/s/000005.sst") if name not in tables(fs))
    builder = TableBuilder(fs, old, number=int(old[3:9]), block_bytes=4096, compression="none", filter_bits_per_key=10)
    reader = TableReader(other, stranger, int(stranger[3:9]), None, Counters())
    for columns in reader.columns_chunks(None, None, 1 << 20):
        builder.add(columns)
    assert builder.finish().max_seq > 100
    assert lsmkv.verify("/s", fs).ok
    with lsmkv.open("/s", options(fs)) as db:
        assert any(old in line for line in db.stats().recovery)
        assert db.get(KEYS[0]) is None


def live(fs, stop_at, keys):
    """Open, write without syncing, flush and close, with the power cut before call ``stop_at``; how many calls there were."""
    with cut_before(fs, stop_at) as cut:
        db = lsmkv.open("/s", options(fs))
        for key in keys:
            db.put(key, b"value")
        db.flush()
        db.close()
    return cut.calls


def test_whatever_a_crash_leaves_opening_goes_on():
    """The power is cut at every call of a flush, then in the openings after it; names and bytes survive by chance."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    fs.sync_dir("/")
    lsmkv.open("/s", options(fs)).close()
    total = live(copy(fs), -1, KEYS[:5])
    rng, refused = random.Random(7), []
    for stop_at in range(1, total + 1):
        for _ in range(30):
            first = copy(fs)
            live(first, stop_at, KEYS[:5])
            left = first.crash(rng)
            for _ in range(3):
                try:
                    live(left, rng.randrange(1, 40), ())
                except lsmkv.CorruptionError as error:
                    refused.append((stop_at, str(error)))
                    break
                left = left.crash(rng)
    assert refused == []


def test_a_full_store_of_orphans_is_taken_in():
    """The manifest of an empty store, put back over one with levels."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    lsmkv.open("/s", options(fs)).close()
    old = read(fs, "/s/MANIFEST")
    with lsmkv.open("/s", options(fs)) as db:
        history = fill(db, 4)
    write(fs, "/s/MANIFEST", old)
    assert len(tables(fs)) > 2
    with pytest.raises(lsmkv.CorruptionError):
        lsmkv.open("/s", options(fs))
    assert lsmkv.repair("/s", fs).losses == ()
    assert answers(fs) == truth(history)


@pytest.mark.parametrize("newer", [True, False])
def test_another_store_s_table_is_set_aside_not_taken_in(newer):
    """It knows more sequence numbers than the manifest, like a table of a later life; but it gives them to other keys."""
    fs = two_lives(puts) if newer else two_lives(lambda _: None)
    other = MemoryFileSystem()
    with lsmkv.open("/s", options(other, memtable_bytes=1 << 20, table_bytes=1 << 20)) as db:
        for i in range(20):  # the file must have a number that is free here
            db.put(b"stranger %d" % i, b"never written here")
            db.flush()
        db.put_many((b"stranger %d" % i, b"never written here") for i in range(300))
        db.compact()
    (stranger,) = tables(other)
    assert stranger not in tables(fs)
    write(fs, stranger, read(other, stranger))
    with pytest.raises(lsmkv.CorruptionError, match="no crash explains"):
        lsmkv.open("/s", options(fs))
    report = lsmkv.repair("/s", fs)
    assert report.manifest == ("rebuilt" if newer else "edited")
    assert any(problem.file == stranger and "another store's table" in problem.what for problem in report.found)
    assert stranger.rpartition("/")[2] in report.moved
    assert report.losses == ()
    assert lsmkv.repair("/s", fs).healthy
    with lsmkv.open("/s", options(fs)) as db:
        assert list(db.scan(prefix=b"stranger")) == []
        assert db.get(KEYS[0]) == (b"new" if newer else b"old")


def test_taking_newer_tables_in_can_be_cut_short():
    whole = two_lives(puts_twice)
    originals = image(whole)
    total = repair_until(copy(whole), -1)
    rng = random.Random(3)
    for stop_at in range(1, total + 1):
        fs = copy(whole)
        repair_until(fs, stop_at)
        fs = fs.crash(rng)
        lsmkv.repair("/s", fs)
        kept = {*image(fs).values(), *image(fs, "/s/ASIDE").values()}
        assert all(data in kept for data in originals.values()), stop_at
        assert answers(fs) == dict.fromkeys(KEYS, b"new")


def with_manifests(seed, *, clean):
    """A store, its history, and every manifest it ever had."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    fs.sync_dir("/")
    manifests = []

    def note():
        data = read(fs, "/s/MANIFEST")
        if data not in manifests:
            manifests.append(data)

    history, left = None, fs
    for life in range(3):
        db = lsmkv.open("/s", options(fs, policy=[None, lsmkv.Tiered(size_ratio=3)][seed % 2]))
        note()
        rng = random.Random(seed + life)
        for _ in range(12):
            history = fill(db, rng.randrange(1 << 30), steps=3, history=history)
            note()
        if life == 2 and not clean:
            db.sync()
            left = copy(fs)
        db.close()
    return left, history, manifests


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_no_old_manifest_ever_makes_a_store_forget(seed, clean):
    """Whichever is put back: opening refuses, or everything is there; and after a repair nothing is missing without a word."""
    whole, history, manifests = with_manifests(seed, clean=clean)
    assert len(manifests) > 20
    refused = 0
    for manifest in manifests:
        fs = copy(whole)
        write(fs, "/s/MANIFEST", manifest)
        before = image(fs)
        try:
            with lsmkv.open("/s", options(fs)) as db:
                assert db.get_many(KEYS) == [values[-1] for values in history.values()]
            continue
        except lsmkv.CorruptionError:
            refused += 1
        assert {name: data for name, data in image(fs).items() if name.endswith((".sst", ".wal"))} == {
            name: data for name, data in before.items() if name.endswith((".sst", ".wal"))
        }
        report = lsmkv.repair("/s", fs)
        assert not report.healthy
        judge(report, history, answers(fs))
    assert refused > len(manifests) // 2
