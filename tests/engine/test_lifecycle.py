"""Opening, closing, reopening, locking, checkpoints."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

import lsmkv


def test_everything_is_there_after_a_clean_close(open_db, memory_fs):
    with open_db() as db:
        db.put_many((b"%04d" % i, b"v%d" % i) for i in range(500))
    crashed = memory_fs.crash()
    with open_db(fs=crashed) as db:
        assert db.get_many([b"%04d" % i for i in range(500)]) == [b"v%d" % i for i in range(500)]
        assert db.stats().recovery == ()


def test_a_write_that_was_synced_survives_a_power_cut(open_db, memory_fs):
    db = open_db()
    db.put(b"a", b"1")
    db.put(b"b", b"2", sync=True)
    db.put(b"c", b"3")
    crashed = memory_fs.crash()
    with open_db(fs=crashed) as again:
        assert (again.get(b"a"), again.get(b"b"), again.get(b"c")) == (b"1", b"2", None)


def test_calls_after_close_raise_closed_error(open_db):
    db = open_db()
    db.close()
    db.close()
    for call in (
        lambda: db.get(b"a"),
        lambda: db.put(b"a", b"1"),
        lambda: db.get_many([b"a"]),
        db.scan,
        db.snapshot,
        db.flush,
        db.stats,
        db.step,
    ):
        with pytest.raises(lsmkv.ClosedError, match="/db is closed"):
            call()


def test_a_second_writer_is_refused_and_a_dropped_store_gives_its_lock_back(open_db):
    db = open_db()
    with pytest.raises(lsmkv.LockedError, match="already open"):
        open_db()
    db.put(b"a", b"1")
    del db
    gc.collect()
    with open_db() as again:
        assert again.get(b"a") == b"1"


def test_opening_nothing_without_create_names_the_path(open_db):
    with pytest.raises(lsmkv.InvalidArgumentError, match="/none holds no lsmkv store"):
        open_db("/none", create=False)


def test_a_directory_with_tables_but_no_manifest_is_not_overwritten(open_db, memory_fs):
    with open_db() as db:
        db.put(b"a", b"1")
    memory_fs.unlink("/db/MANIFEST")
    with pytest.raises(lsmkv.CorruptionError, match=r"MANIFEST.*missing"):
        open_db()


def test_a_missing_table_is_named(open_db, memory_fs):
    with open_db() as db:
        db.put(b"a", b"1")
    name = next(n for n in memory_fs.listdir("/db") if n.endswith(".sst"))
    memory_fs.unlink(f"/db/{name}")
    with pytest.raises(lsmkv.CorruptionError, match=name):
        open_db()


def test_orphans_and_temporary_files_are_removed_at_open(open_db, memory_fs):
    open_db().close()
    for name in ("000900.sst", "MANIFEST.tmp"):
        memory_fs.open(f"/db/{name}", "create").close()
    with open_db() as db:
        assert not {"000900.sst", "MANIFEST.tmp"} & set(memory_fs.listdir("/db"))
        assert "000900.sst" in db.stats().recovery[0]


def test_a_checkpoint_opens_as_a_store_and_does_not_change_later(open_db):
    with open_db() as db:
        db.put_many((b"%03d" % i, b"1") for i in range(200))
        db.checkpoint("/copy")
        db.put_many((b"%03d" % i, b"2") for i in range(200))
        db.compact()
        with open_db("/copy") as copy:
            assert copy.get_many([b"%03d" % i for i in range(200)]) == [b"1"] * 200
            copy.put(b"000", b"3")
            assert db.get(b"000") == b"2"
        with pytest.raises(lsmkv.InvalidArgumentError, match="not an empty directory"):
            db.checkpoint("/copy")


def test_a_real_directory_survives_kill_minus_nine(tmp_path):
    code = (
        "import lsmkv, os, signal, sys\n"
        "db = lsmkv.open(sys.argv[1], lsmkv.Options(memtable_bytes=1 << 16))\n"
        "for i in range(3000): db.put(b'%06d' % i, b'v' * 100)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "db")], check=False)
    assert done.returncode == -9
    with lsmkv.open(str(tmp_path / "db")) as db:
        assert [k for k, _ in db.scan()] == [b"%06d" % i for i in range(3000)]
        db.check()


def test_importing_the_engine_needs_no_torch_and_no_cli_libraries():
    code = "import sys, lsmkv; bad = {'torch', 'typer', 'rich'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_forked_child_finds_its_handle_closed(tmp_path):
    code = (
        "import lsmkv, os, sys\n"
        "db = lsmkv.open(sys.argv[1]); db.put(b'a', b'1')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try: db.get(b'a')\n"
        "    except lsmkv.ClosedError: os._exit(7)\n"
        "    os._exit(1)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "assert db.get(b'a') == b'1'; db.put(b'b', b'2'); db.close(); sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "db")], check=False)
    assert done.returncode == 7
