"""Repair, damage by damage: what comes back is true, what is lost is named, what leaves is kept aside."""

from __future__ import annotations

import pytest
from xxhash import xxh3_64_intdigest

import lsmkv
from lsmkv.env.fs import FileSystem
from lsmkv.recover.repair_report import Loss
from lsmkv.sstable.layout import FOOTER_BYTES, parse_footer
from lsmkv.testing import FailOp, FaultFileSystem, MemoryFileSystem

from .damaged import (
    KEYS,
    answers,
    copy,
    counts_add_up,
    flip,
    image,
    judge,
    logs,
    options,
    originals,
    read,
    store,
    tables,
    truth,
    write,
)


def repaired(fs: FileSystem, **more):
    report = lsmkv.repair("/s", fs, **more)
    counts_add_up(report)
    again = lsmkv.repair("/s", fs)
    assert again.healthy, again.found
    return report


def largest(fs):
    return max(tables(fs), key=fs.size)


@pytest.mark.parametrize("clean", [True, False])
def test_a_healthy_store_is_left_alone(clean):
    fs, _ = store(clean=clean)
    before, names = image(fs), fs.listdir("/s")
    report = lsmkv.repair("/s", fs)
    assert (report.healthy, report.lossless, report.manifest, report.moved) == (True, True, "kept", ())
    assert (image(fs), fs.listdir("/s")) == (before, names)
    counts_add_up(report)


def test_leftovers_and_a_torn_log_are_opening_s_business():
    fs, _ = store()
    write(fs, "/s/999999.sst", b"unfinished")
    log = logs(fs)[-1]
    write(fs, log, read(fs, log) + b"half a frame")
    before = image(fs)
    assert lsmkv.repair("/s", fs).healthy
    assert image(fs) == before


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("damage", ["lost", "cut", "header", "frame", "emptied"])
def test_a_store_without_its_manifest_answers_as_before(seed, damage):
    fs, history = store(seed)
    manifest = read(fs, "/s/MANIFEST")
    if damage == "lost":
        fs.unlink("/s/MANIFEST")
    elif damage in ("cut", "emptied"):
        write(fs, "/s/MANIFEST", manifest.rstrip(b"\0") if damage == "cut" else b"")
    else:
        flip(fs, "/s/MANIFEST", 3 if damage == "header" else 200)
    with pytest.raises(lsmkv.CorruptionError):
        lsmkv.open("/s", options(copy(fs)))
    report = repaired(fs)
    assert report.manifest == "rebuilt"
    assert report.losses == ()
    assert report.doubts
    assert answers(fs) == truth(history)
    assert damage == "lost" or "MANIFEST" in report.moved


def test_the_policy_is_kept_if_the_manifest_still_names_it():
    fs, _ = store(policy=lsmkv.Tiered(size_ratio=4))
    data = read(fs, "/s/MANIFEST")
    write(fs, "/s/MANIFEST", data.rstrip(b"\0"))
    repaired(fs)
    assert b'"tiered"' in read(fs, "/s/MANIFEST")


def test_a_lost_table_is_named_by_range_and_count():
    fs, history = store(1)
    with lsmkv.open("/s", options(copy(fs))) as db:
        metas = {f"/s/{t.number:06d}.sst": t for t in db.tree().tables}
    victim = max((t for t in tables(fs) if t in metas), key=fs.size)
    fs.unlink(victim)
    report = repaired(fs)
    meta = metas[victim]
    assert (report.manifest, report.tables_missing) == ("edited", 1)
    (loss,) = report.losses
    assert (loss.file, loss.ranges, loss.entries) == (victim, ((meta.smallest, meta.largest),), meta.entries)
    assert report.deleted_keys_may_return == bool(meta.tombstones)
    judge(report, history, answers(fs))


def test_a_damaged_block_costs_what_is_in_it_and_no_more():
    fs, history = store(2, clean=True)
    victim = largest(fs)
    original = read(fs, victim)
    flip(fs, victim, 40)
    report = repaired(fs)
    (loss,) = report.losses
    assert (report.tables_salvaged, report.tables_dropped) == (1, 0)
    assert 0 < loss.entries < report.entries_salvaged
    got = answers(fs)
    judge(report, history, got)
    assert sum(got[key] != value for key, value in truth(history).items()) <= loss.entries
    damaged = read(fs, f"/s/ASIDE/{victim[3:]}")
    assert sum(a != b for a, b in zip(damaged, original, strict=True)) == 1


def test_a_damaged_filter_index_or_footer_costs_nothing():
    whole, history = store(3, clean=True)
    victim = largest(whole)
    data = read(whole, victim)
    footer = parse_footer(victim, len(data), data[-FOOTER_BYTES:], None)
    for at in (footer.filter_at + 20, footer.index_at + 2, footer.properties_at + 20, len(data) - 1, len(data) - 40):
        for manifest in (True, False):
            fs = copy(whole)
            flip(fs, victim, at)
            if not manifest:
                fs.unlink("/s/MANIFEST")
            report = repaired(fs)
            assert (report.tables_salvaged, report.losses) == (1, ()), at
            assert answers(fs) == truth(history)


def test_without_index_and_footer_the_blocks_are_found_by_searching():
    whole, history = store(4, clean=True)
    victim = largest(whole)
    data = read(whole, victim)
    footer = parse_footer(victim, len(data), data[-FOOTER_BYTES:], None)
    for manifest in (True, False):
        fs = copy(whole)
        for at in (footer.index_at + 30, len(data) - 1, 9, footer.filter_at // 2):
            flip(fs, victim, at)
        if not manifest:
            fs.unlink("/s/MANIFEST")
        report = repaired(fs)
        assert report.tables_salvaged == 1
        assert report.entries_salvaged > 0
        (loss,) = report.losses
        assert loss.file == victim
        judge(report, history, answers(fs))


@pytest.mark.parametrize("size", [0, 10, 300])
def test_a_table_cut_short_gives_what_is_left(size):
    fs, history = store(5, clean=True)
    victim = largest(fs)
    write(fs, victim, read(fs, victim)[:size])
    report = repaired(fs)
    assert report.tables_salvaged + report.tables_dropped == 1
    assert (report.tables_salvaged == 1) == (size == 300)
    judge(report, history, answers(fs))


@pytest.mark.parametrize("manifest", [True, False])
def test_tables_with_swapped_names_are_put_right(manifest):
    fs, history = store(6, clean=True)
    one, other = tables(fs)[:2]
    a, b = read(fs, one), read(fs, other)
    write(fs, one, b)
    write(fs, other, a)
    if not manifest:
        fs.unlink("/s/MANIFEST")
    report = repaired(fs)
    assert report.tables_salvaged == 2
    assert report.losses == ()
    assert answers(fs) == truth(history)


def test_a_renamed_table_is_found_under_its_other_name():
    fs, history = store(6, clean=True)
    fs.rename(largest(fs), "/s/990000.sst")
    with pytest.raises(lsmkv.CorruptionError, match="missing"):
        lsmkv.open("/s", options(fs))  # and opening in vain does not remove it as an orphan
    report = repaired(fs)
    assert (report.tables_salvaged, report.tables_missing, report.losses) == (1, 0, ())
    assert answers(fs) == truth(history)


def test_another_store_s_table_is_not_believed():
    fs, history = store(7, clean=True)
    stranger, _ = store(8, clean=True)
    shared = sorted(set(tables(fs)) & set(tables(stranger)))
    if not shared:
        victim = largest(fs)
        with lsmkv.open("/s", options(stranger)) as db:
            db.put(b"x", b"never written here")
        write(fs, victim, read(stranger, largest(stranger)))
    else:
        victim = shared[0]
        write(fs, victim, read(stranger, victim))
    report = repaired(fs)
    assert report.tables_dropped == 1
    judge(report, history, answers(fs))


def test_an_old_manifest_put_back_is_left_out_of_account():
    fs = MemoryFileSystem()
    with lsmkv.open("/s", options(fs)) as db:
        db.put_many((key, b"old") for key in KEYS)
    old = read(fs, "/s/MANIFEST")
    with lsmkv.open("/s", options(fs)) as db:
        db.put_many((key, b"new") for key in KEYS)
        db.compact()
    write(fs, "/s/MANIFEST", old)
    assert lsmkv.repair("/s", fs, dry_run=True).manifest == "rebuilt"
    report = repaired(fs)
    assert report.losses == ()
    assert answers(fs) == dict.fromkeys(KEYS, b"new")


def synced_log():
    """A store whose log holds three synced commits."""
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    db = lsmkv.open("/s", options(fs))
    db.put(b"key 000", b"in a table")
    db.flush()
    for i in range(4):
        db.put(b"key %03d" % i, b"commit %d" % i, sync=True)
    left = copy(fs)
    db.close()
    return left


@pytest.mark.parametrize("header", [True, False])
def test_a_damaged_log_gives_its_intact_prefix(header):
    fs = synced_log()
    (log,) = logs(fs)
    flip(fs, log, len(read(fs, log)) // 2 + 10)
    if header:
        flip(fs, log, 5)
    with pytest.raises(lsmkv.CorruptionError):
        lsmkv.open("/s", options(copy(fs)))
    report = repaired(fs)
    (loss,) = report.losses
    assert loss.file == log
    assert loss.covers(b"anything")
    assert "gave up" in loss.what
    got = answers(fs)
    assert [got[key] for key in KEYS[:4]] in [[b"commit 0", b"commit 1", None, None], [b"commit 0", None, None, None]]
    assert report.entries_replayed == sum(got[key] is not None for key in KEYS[:4])
    assert report.moved[-2:] == (log[3:], "MANIFEST")


def test_a_log_whose_header_alone_is_damaged_loses_nothing():
    fs = synced_log()
    flip(fs, logs(fs)[0], 5)
    report = repaired(fs)
    assert report.losses == ()
    assert [answers(fs)[key] for key in KEYS[:4]] == [b"commit %d" % i for i in range(4)]


def test_what_a_damaged_table_lost_comes_from_a_log_that_is_still_there():
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    db = lsmkv.open("/s", options(fs))
    db.put_many((key, b"value of " + key) for key in KEYS)
    (log,) = logs(fs)
    commits = read(fs, log)
    db.flush()
    db.put(KEYS[0], b"newer", sync=True)
    left = copy(fs)
    db.close()
    write(left, log, commits)
    left.unlink("/s/MANIFEST")
    sound = copy(left)
    flip(left, largest(left), 40)
    for disk in (left, sound):
        report = repaired(disk)
        assert report.entries_replayed == (121 if disk is left else 1), "what sound tables hold is not replayed"
        assert answers(disk) == {key: b"value of " + key for key in KEYS} | {KEYS[0]: b"newer"}


def test_a_missing_log_takes_the_later_ones_with_it():
    fs, history = store(9, max_immutables=8)
    with lsmkv.open("/s", options(copy(fs))):
        pass
    if len(logs(fs)) > 1:
        fs.unlink(logs(fs)[0])
        report = lsmkv.repair("/s", fs)
        counts_add_up(report)
        judge(report, history, answers(fs), unseen=report.healthy)


def test_a_file_of_a_later_format_is_refused_and_nothing_changes():
    fs, _ = store(clean=True)
    victim = largest(fs)
    data = bytearray(read(fs, victim))
    data[-24:-20] = (9).to_bytes(4, "little")
    data[-16:-8] = xxh3_64_intdigest(bytes(data[-FOOTER_BYTES:-16])).to_bytes(8, "little")
    write(fs, victim, bytes(data))
    fs.unlink("/s/MANIFEST")
    before = image(fs)
    with pytest.raises(lsmkv.FormatTooNewError):
        lsmkv.repair("/s", fs)
    assert image(fs) == before
    assert not fs.exists("/s/ASIDE")


def test_a_dry_run_says_the_same_and_changes_nothing():
    fs, _ = store(10)
    fs.unlink("/s/MANIFEST")
    flip(fs, largest(fs), 40)
    before = image(fs)
    told = lsmkv.repair("/s", fs, dry_run=True).to_dict()
    assert image(fs) == before
    assert not fs.exists("/s/ASIDE")
    done = repaired(fs).to_dict()
    assert {**told, "dry_run": False, "account": "REPORT.json"} == done


def test_an_open_store_is_refused():
    fs = MemoryFileSystem()
    with lsmkv.open("/s", options(fs)), pytest.raises(lsmkv.LockedError):
        lsmkv.repair("/s", fs)


def test_where_there_is_no_store_there_is_nothing_to_repair(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(lsmkv.InvalidArgumentError):
            lsmkv.repair(path)


def test_what_was_moved_aside_disturbs_nobody():
    fs, history = store(11, clean=True)
    fs.unlink("/s/MANIFEST")
    flip(fs, largest(fs), 40)
    report = repaired(fs)
    kept = image(fs, "/s/ASIDE")
    assert kept
    answers(fs)
    with lsmkv.open("/s", options(fs)) as db:
        db.checkpoint("/copy")
    assert not fs.exists("/copy/ASIDE")
    assert image(fs, "/s/ASIDE") == kept
    assert any("ASIDE" in warning for warning in lsmkv.verify("/s", fs).warnings)
    flip(fs, largest(fs), 40)
    second = repaired(fs)
    assert kept.items() <= image(fs, "/s/ASIDE").items()
    assert second.losses
    judge(report, history, answers(fs), unseen=True)


def test_where_links_are_refused_files_are_copied():
    fs, history = store(12)
    fs.unlink("/s/MANIFEST")
    flip(fs, largest(fs), 40)
    before = image(fs)
    faults = FaultFileSystem(fs)
    faults.add(FailOp("link"))
    report = lsmkv.repair("/s", faults)
    aside = originals(fs)
    assert aside == {name: before[name] for name in report.moved}
    judge(report, history, answers(fs))


def test_a_full_disk_leaves_the_store_as_it_was():
    fs, _ = store(13)
    flip(fs, largest(fs), 40)
    before = image(fs)
    faults = FaultFileSystem(fs)
    rule = faults.add(FailOp("pwritev", errno=28))
    with pytest.raises(lsmkv.NoSpaceError):
        lsmkv.repair("/s", faults)
    assert image(fs) == before
    faults.remove(rule)
    counts_add_up(lsmkv.repair("/s", faults))
    answers(fs)


def test_a_loss_covers_its_ranges():
    loss = Loss("f", "w", ((b"b", b"d"), (b"x", None)), None)
    assert [loss.covers(key) for key in (b"a", b"b", b"c", b"d", b"da", b"x", b"zz")] == [False, *[True] * 3, False, True, True]
    assert "the last key" in str(loss)
