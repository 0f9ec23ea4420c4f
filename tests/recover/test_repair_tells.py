"""What a repair says, where it says it, and what it leaves alone: losses of healthy stores, account, ages, LOCK, STATUS."""

from __future__ import annotations

import errno
import json
import random
import subprocess
import sys

import pytest

import lsmkv
from lsmkv.base.status import STATUS
from lsmkv.env.clock import SystemClock
from lsmkv.env.posix import PosixFileSystem
from lsmkv.observe.onlook import look
from lsmkv.testing import FailOp, FaultFileSystem, ManualClock, MemoryFileSystem

from .damaged import KEYS, answers, copy, flip, image, judge, logs, options, read, store, tables, write
from .test_repair_power_cuts import cut_before, damage

FORGETFUL = lsmkv.FIFO(1 << 30, ttl_s=100.0)
WRITING = ("lock", "pwritev", "sync", "sync_dir", "rename", "unlink", "link", "mkdir", "truncate", "allocate")


# what opening will drop


def test_the_torn_end_of_a_log_is_among_the_losses_of_a_healthy_store():
    fs, _ = store(3)
    log = logs(fs)[-1]
    assert lsmkv.repair("/s", fs).losses == ()
    write(fs, log, read(fs, log) + b"half a frame")
    report = lsmkv.repair("/s", fs)
    assert (report.healthy, report.lossless, report.deleted_keys_may_return) == (True, False, True)
    (loss,) = report.losses
    assert (loss.file, loss.entries) == (log, None)
    assert loss.what == f"dropped 12 bytes after byte {fs.size(log) - 12}: 12 bytes, less than a frame header"
    assert [str(w) for w in lsmkv.verify("/s", fs).warnings if w.startswith(log)] == [f"{log}: {loss.what}"]


def test_a_log_that_was_begun_and_never_used_loses_nothing():
    fs, _ = store(3, clean=True)
    write(fs, "/s/000900.wal", b"")
    assert lsmkv.repair("/s", fs).lossless


# the account


def accounts(fs):
    if not fs.exists("/s/ASIDE"):
        return {}
    names = [name for name in image(fs, "/s/ASIDE") if name.startswith("REPORT") and not name.endswith(".new")]
    return {name: json.loads(read(fs, f"/s/ASIDE/{name}")) for name in names}


@pytest.mark.parametrize("kind", ["table", "manifest", "all"])
def test_whatever_cuts_a_repair_short_its_account_is_there_once_it_took_effect(kind):
    whole, _ = store(2)
    damage(kind, whole)
    undisturbed = copy(whole)
    with cut_before(undisturbed, -1) as cut:
        lsmkv.repair("/s", undisturbed)
    (told,) = accounts(undisturbed).values()
    rng = random.Random(4)
    assert cut.calls > 20
    for stop_at in range(1, cut.calls + 1):
        fs = copy(whole)
        with cut_before(fs, stop_at):
            lsmkv.repair("/s", fs)
        fs = fs.crash(rng)
        took_effect = lsmkv.repair("/s", fs, dry_run=True).healthy
        found = [{**one, "moved": None, "account": None} for one in accounts(fs).values()]
        if took_effect:
            assert {**told, "moved": None, "account": None} in found, stop_at
        report = lsmkv.repair("/s", fs)
        if not took_effect:
            assert accounts(fs)[report.account] == json.loads(json.dumps(report.to_dict()))


def test_a_second_repair_keeps_the_account_of_the_first():
    fs, _ = store(11, clean=True)
    for number in range(3):
        flip(fs, max(tables(fs), key=fs.size), 40)
        report = lsmkv.repair("/s", fs)
        assert report.account == ("REPORT.json", "REPORT.json.1", "REPORT.json.2")[number]
        assert accounts(fs)[report.account]["losses"]
    assert lsmkv.repair("/s", fs).account == ""
    assert len(accounts(fs)) == 3


# whose store it is


@pytest.fixture
def died(tmp_path):
    """A store on the machine's disk whose writer was killed, and the text of its LOCK."""
    program = (
        "import lsmkv, os, sys\n"
        "db = lsmkv.open(sys.argv[1], lsmkv.Options(status_interval_s=0.05, memtable_bytes=4096))\n"
        "for i in range(500): db.put(b'%04d' % i, bytes(30))\n"
        "db.flush(); db.sync()\n"
        f"while not os.path.exists(sys.argv[1] + '/{STATUS}'): pass\n"
        "os._exit(9)\n"
    )
    path = tmp_path / "s"
    assert subprocess.run([sys.executable, "-c", program, path], check=False).returncode == 9
    return path, (path / "LOCK").read_bytes()


def seen(path):
    return look(PosixFileSystem(), str(path), SystemClock())


def test_looking_leaves_the_name_of_the_writer_that_died(died):
    path, owner = died
    before = seen(path).about
    assert owner.split(b"\n")[0].removeprefix(b"pid ").decode() in before
    for report in (lsmkv.repair(path, dry_run=True), lsmkv.repair(path)):
        assert report.healthy
        assert (path / "LOCK").read_bytes() == owner
        assert (path / STATUS).exists()
    assert seen(path).state == "died"


def test_a_repaired_store_has_no_status_and_names_its_last_writer(died):
    path, owner = died
    (path / "MANIFEST").unlink()
    lsmkv.repair(path)
    assert not (path / STATUS).exists()
    assert (path / "LOCK").read_bytes() == owner
    assert seen(path).state == "died"
    with lsmkv.open(path) as db:
        assert len(list(db.scan())) == 500


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("hurt", [True, False])
def test_a_dry_run_only_reads(code, hurt):
    fs, _ = store(5)
    fs.lock("/s/LOCK").release()
    if hurt:
        fs.unlink("/s/MANIFEST")
        flip(fs, max(tables(fs), key=fs.size), 40)
    disk = FaultFileSystem(fs)
    for op in WRITING:
        disk.add(FailOp(op, errno=code))
    report = lsmkv.repair("/s", disk, dry_run=True)
    assert report.healthy != hurt
    assert any("cannot be locked" in doubt for doubt in report.doubts)
    with pytest.raises(lsmkv.IOFailedError):
        lsmkv.repair("/s", disk)


def test_a_dry_run_of_a_store_that_nobody_ever_opened_makes_no_lock():
    fs, _ = store(5)
    fs.unlink("/s/LOCK") if fs.exists("/s/LOCK") else None
    assert lsmkv.repair("/s", fs, dry_run=True).healthy
    assert not fs.exists("/s/LOCK")


def test_a_dry_run_refuses_an_open_store():
    fs = MemoryFileSystem()
    with lsmkv.open("/s", options(fs)), pytest.raises(lsmkv.LockedError):
        lsmkv.repair("/s", fs, dry_run=True)


# policy and ages


def test_without_a_manifest_the_policy_is_in_doubt():
    fs, _ = store(1, policy=lsmkv.Tiered(size_ratio=4))
    fs.unlink("/s/MANIFEST")
    report = lsmkv.repair("/s", fs)
    assert any("opens as Leveled()" in doubt for doubt in report.doubts)
    fs, _ = store(1, policy=lsmkv.Tiered(size_ratio=4))
    write(fs, "/s/MANIFEST", read(fs, "/s/MANIFEST").rstrip(b"\0"))
    report = lsmkv.repair("/s", fs)
    assert not any("Leveled" in doubt for doubt in report.doubts)


def a_cache(clock):
    """A store that forgets after 100 seconds, with data 50 seconds old, and its manifest."""
    fs = MemoryFileSystem()
    with lsmkv.open("/s", options(fs, clock=clock, policy=FORGETFUL, memtable_bytes=1 << 20)) as db:
        db.put_many((key, b"v") for key in KEYS)
        db.delete(KEYS[0])
        db.flush()
    clock.advance(50)
    return fs


@pytest.mark.parametrize("manifest", ["lost", "cut"])
def test_rebuilt_tables_expire(manifest):
    clock = ManualClock()
    fs = a_cache(clock)
    known = manifest == "cut"
    if known:
        write(fs, "/s/MANIFEST", read(fs, "/s/MANIFEST").rstrip(b"\0"))
    else:
        fs.unlink("/s/MANIFEST")
    report = lsmkv.repair("/s", fs, clock=clock)
    assert any("not known: they count as flushed now" in doubt for doubt in report.doubts) != known
    with lsmkv.open("/s", options(fs, clock=clock, policy=FORGETFUL, memtable_bytes=1 << 20)) as db:
        (table,) = db.tree().tables
        born = clock.now() - (50 if known else 0)
        assert (table.born_s, table.newest_s, table.tombstone_s) == (born, born, born)
        clock.advance(60)
        db.settle()
        assert (db.get(KEYS[1]) is None) == known
        clock.advance(60)
        db.settle()
        assert db.get(KEYS[1]) is None


def test_merged_and_salvaged_tables_keep_their_ages():
    """A block is damaged, and so is the manifest: what is left is as old as it was."""
    clock = ManualClock()
    fs = a_cache(clock)
    born = clock.now() - 50
    write(fs, "/s/MANIFEST", read(fs, "/s/MANIFEST").rstrip(b"\0"))
    flip(fs, tables(fs)[0], 40)
    assert lsmkv.repair("/s", fs, clock=clock).tables_salvaged == 1
    with lsmkv.open("/s", options(fs, clock=clock, policy=FORGETFUL, memtable_bytes=1 << 20)) as db:
        (table,) = db.tree().tables
        assert (table.born_s, table.newest_s) == (born, born)


def test_commits_from_damaged_logs_have_an_age():
    clock = ManualClock()
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    db = lsmkv.open("/s", options(fs, clock=clock))
    for i in range(4):
        db.put(KEYS[i], b"v", sync=True)
    left = copy(fs)
    db.close()
    flip(left, logs(left)[0], left.size(logs(left)[0]) // 2 + 10)
    lsmkv.repair("/s", left, clock=clock)
    with lsmkv.open("/s", options(left, clock=clock)) as db:
        (table,) = db.tree().tables
        assert table.newest_s == clock.now()


def test_tables_that_only_the_manifest_remembers_are_named_as_a_doubt():
    fs, _ = store(4, clean=True)
    with lsmkv.open("/s", options(copy(fs))) as db:
        victim = max(db.tree().tables, key=lambda t: t.entries)
    fs.unlink(f"/s/{victim.number:06d}.sst")
    write(fs, "/s/MANIFEST", read(fs, "/s/MANIFEST").rstrip(b"\0"))
    report = lsmkv.repair("/s", fs)
    assert any(f"{victim.number:06d}.sst" in doubt for doubt in report.doubts)


# odd things in the directory


@pytest.mark.parametrize("name", ["MANIFEST", "MANIFEST.tmp"])
def test_a_directory_in_the_place_of_the_manifest_is_moved_aside(name):
    fs, history = store(6)
    fs.unlink("/s/MANIFEST")
    fs.mkdir(f"/s/{name}")
    fs.open(f"/s/{name}/mine", "create").close()
    report = lsmkv.repair("/s", fs)
    assert name in report.moved
    assert fs.listdir(f"/s/ASIDE/{name}") == ["mine"]
    assert lsmkv.repair("/s", fs).healthy
    judge(report, history, answers(fs))


@pytest.mark.parametrize("what", ["directory", "empty", "dangling"])
def test_a_table_that_is_something_else_counts_as_lost(tmp_path, what):
    path = tmp_path / "s"
    opened = lsmkv.Options(memtable_bytes=4096)
    with lsmkv.open(path, opened) as db:
        db.put_many((key, b"v" * 50) for key in KEYS)
        db.flush()
        table = max(db.tree().tables, key=lambda t: t.entries)
    victim = path / f"{table.number:06d}.sst"
    victim.unlink()
    if what == "directory":
        victim.mkdir()
        (victim / "mine").touch()
    elif what == "empty":
        victim.touch()
    else:
        victim.symlink_to("nowhere")
    with pytest.raises(lsmkv.LsmError):
        lsmkv.open(path, opened)
    report = lsmkv.repair(path)
    (loss,) = report.losses
    assert (loss.file, loss.entries) == (str(victim), table.entries)
    with lsmkv.open(path, opened) as db:
        assert len(list(db.scan())) == len(KEYS) - table.entries
    assert (what != "directory") or (victim / "mine").exists()


def test_foreign_files_stay_where_they_are():
    fs, _ = store(6)
    names = ["notes.txt", "7.sst", "000001.sst.old", "backup"]
    for name in names[:-1]:
        write(fs, f"/s/{name}", b"mine")
    fs.mkdir("/s/backup")
    fs.unlink("/s/MANIFEST")
    assert not set(names) & set(lsmkv.repair("/s", fs).moved)
    assert set(names) <= set(fs.listdir("/s"))


def test_zero_length_files_everywhere():
    """A file system that lost the data of everything but one table."""
    fs, history = store(6)
    kept = max(tables(fs), key=fs.size)
    for path in ["/s/MANIFEST", *tables(fs), *logs(fs)]:
        if path != kept:
            write(fs, path, b"")
    report = lsmkv.repair("/s", fs)
    assert (report.tables_sound, report.tables_salvaged) == (1, 0)
    assert len(report.losses) >= report.tables_dropped
    judge(report, history, answers(fs))


# a lost table whose log is still there


@pytest.mark.parametrize("much", ["lost", "a block", "emptied"])
@pytest.mark.parametrize("part", [True, False])
def test_a_lost_table_takes_back_what_a_log_still_has(much, part):
    fs = MemoryFileSystem()
    fs.mkdir("/s")
    db = lsmkv.open("/s", options(fs, memtable_bytes=1 << 20))
    for i, key in enumerate(KEYS):
        db.put(key, b"value %d" % i)
    db.delete(KEYS[3])
    (log,) = logs(fs)
    commits = read(fs, log)
    db.flush()
    db.put(KEYS[5], b"newer", sync=True)
    left = copy(fs)
    db.close()
    write(left, log, commits[: len(commits) // 2] if part else commits)  # its unlinking was not durable
    (table,) = tables(left)
    if much == "lost":
        left.unlink(table)
    elif much == "a block":
        flip(left, table, 40)
    else:
        write(left, table, b"")
    report = lsmkv.repair("/s", left)
    got = answers(left)
    expected = {key: b"value %d" % i for i, key in enumerate(KEYS)} | {KEYS[3]: None, KEYS[5]: b"newer"}
    assert report.entries_replayed > 0
    assert got[KEYS[0]] == b"value 0"
    if part:
        (loss,) = report.losses
        assert "come from logs" in loss.what
        assert all(got[key] == value or loss.covers(key) for key, value in expected.items())
    else:
        assert report.losses == ()
        assert got == expected
