"""Fork while open: the child's handles are closed, whoever held which lock; the parent goes on as if nothing had happened."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

import lsmkv
from lsmkv.env import background

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def in_child(action) -> int:
    """How a forked child ends: 0 if ``action`` returns, 2 if it raises ClosedError, 1 for anything else; negative if it hangs."""
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        status = 1
        try:
            action()
            status = 0
        except lsmkv.ClosedError:
            status = 2
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def db(tmp_path):
    """A store with background threads, tables, a memtable and tiny buffers."""
    options = lsmkv.Options(memtable_bytes=32 << 10, table_bytes=8 << 10, wal_sync="interval", background_bytes_per_s=1e9)
    with lsmkv.open(tmp_path / "db", options) as db:
        db.put_many((b"%05d" % n, b"v" * 50) for n in range(3000))
        yield db


CALLS = {
    "get": lambda db: db.get(b"00001"),
    "get_many": lambda db: db.get_many([b"00001"]),
    "count_leading": lambda db: db.count_leading([b"00001"]),
    "contains_many": lambda db: db.contains_many([b"00001"]),
    "scan": lambda db: next(db.scan()),
    "snapshot": lambda db: db.snapshot(),
    "put": lambda db: db.put(b"k", b"v"),
    "put_many": lambda db: db.put_many([(b"k", b"v")]),
    "delete": lambda db: db.delete(b"k"),
    "delete_many": lambda db: db.delete_many([b"k"]),
    "delete_range": lambda db: db.delete_range(b"k", b"l"),
    "write": lambda db: db.write(lsmkv.WriteBatch().put(b"k", b"v").delete_range(b"a", None)),
    "checkpoint": lambda db: db.checkpoint(db.path + "-copy"),
    "sync": lambda db: db.sync(),
    "flush": lambda db: db.flush(),
    "compact": lambda db: db.compact(),
    "load_sorted": lambda db: db.load_sorted([(b"k", b"v")]),
    "set_options": lambda db: db.set_options(memtable_bytes=1 << 20),
    "set_policy": lambda db: db.set_policy(lsmkv.Tiered()),
    "pending": lambda db: db.pending(),
    "step": lambda db: db.step(),
    "settle": lambda db: db.settle(),
    "stats": lambda db: db.stats(),
    "tree": lambda db: db.tree(),
    "check": lambda db: db.check(),
}


def locks_of(db):
    """Every lock that a call could meet, by name."""
    core, committer, upkeep = db._core, db._committer, db._upkeep
    return {
        "close": db._close_lock,
        "calls": db._calls._state,
        "commit": committer.lock,
        "apply": committer._apply_lock,
        "old logs": committer._old_lock,
        "flush": upkeep._flush_lock,
        "compact": upkeep._compact_lock,
        "load": upkeep._load_lock,
        "install": core.install_lock,
        "box": core.box.lock,
        "snapshots": core.snapshots._lock,
        "door": core.snapshots.door,
        "tables": core.tables._lock,
        "cache": core.cache._lock,
        "slow": db._gate.slow._lock,
        "changed": db._gate.changed,
        "throttle": core.throttle._lock,
        "events": core.events._lock,
        "ledger": core.ledger._lock,
    }


def test_in_a_child_every_call_is_a_closed_error_whoever_holds_which_lock(db):
    inside, go_on = threading.Event(), threading.Event()
    db.settle()
    held = locks_of(db)

    def hold():
        with db._calls:  # a call that never ends in the child
            for lock in held.values():
                lock.acquire()
            inside.set()
            go_on.wait()
            for lock in held.values():
                lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    try:
        statuses = {call: in_child(lambda act=act: act(db)) for call, act in CALLS.items()}
        leaving = {
            "close": in_child(db.close),
            "with": in_child(lambda: db.__exit__(None, None, None)),
            "options": in_child(lambda: db.options),
            "drop": in_child(gc.collect),
        }
    finally:
        go_on.set()
        holder.join()
    assert statuses == dict.fromkeys(CALLS, 2)
    assert leaving == dict.fromkeys(leaving, 0)
    db.put(b"parent", b"goes on")
    db.check()


def test_with_a_scan_and_a_snapshot_open_both_end_in_the_child_and_go_on_in_the_parent(db):
    snapshot, scan, walked = db.snapshot(), db.scan(), db.scan()
    first = next(scan)
    list(walked)

    def read_on():
        for _ in scan:
            pass

    def leave():
        snapshot.close()
        scan.close()
        walked.close()

    lock = db._core.snapshots._lock
    with lock:
        assert in_child(leave) == 0
    assert in_child(read_on) == 2
    assert in_child(lambda: snapshot.get(b"00001")) == 2
    assert in_child(lambda: snapshot.get_many([b"00001"])) == 2
    assert in_child(lambda: next(snapshot.scan())) == 2
    db.put(b"00001", b"new")
    db.flush()
    db.compact()
    assert snapshot.get(b"00001") == b"v" * 50
    assert [first, *scan] == [(b"%05d" % n, b"v" * 50) for n in range(3000)]
    snapshot.close()


def test_the_parent_writes_on_while_children_come_and_go(db, tmp_path):
    for n in range(20):
        db.put_many((b"new%02d-%04d" % (n, i), b"v" * 50) for i in range(200))
        assert in_child(lambda: db.get(b"00001")) == 2
    db.close()
    with lsmkv.open(tmp_path / "db") as again:
        assert sum(1 for _ in again.scan()) == 7000
        again.check()


def test_a_child_may_open_another_store_but_not_this_one(db, tmp_path):
    def other():
        with lsmkv.open(tmp_path / "other") as store:
            store.put_many((b"%d" % n, b"v") for n in range(2000))
            store.flush()
            store.check()
            assert store.get(b"7") == b"v"

    def this():
        with pytest.raises(lsmkv.LockedError, match=f"process {os.getppid()} on "):
            lsmkv.open(tmp_path / "db")

    assert in_child(other) == 0
    assert in_child(this) == 0
    with lsmkv.open(tmp_path / "other") as store:
        assert sum(1 for _ in store.scan()) == 2000


def test_a_child_opens_the_store_when_its_parent_has_closed_it(tmp_path):
    db = lsmkv.open(tmp_path / "db")
    db.put(b"k", b"v")
    read, write = os.pipe()

    def later():
        os.read(read, 1)
        with lsmkv.open(tmp_path / "db") as mine:
            assert mine.get(b"k") == b"v"
            mine.put(b"child", b"was here")

    pid = os.fork()
    if not pid:
        signal.alarm(20)
        try:
            later()
            os._exit(0)
        finally:
            os._exit(1)
    db.close()
    os.write(write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(read)
    os.close(write)
    with lsmkv.open(tmp_path / "db") as again:
        assert again.get(b"child") == b"was here"


def test_a_child_holds_no_descriptor_of_the_store(db, tmp_path):
    db.get_many([b"%05d" % n for n in range(3000)])
    ours = str(tmp_path / "db")

    def look():
        gc.collect()
        held = []
        for name in os.listdir("/proc/self/fd"):
            try:
                held.append(os.readlink(f"/proc/self/fd/{name}"))
            except FileNotFoundError:  # that of the listing itself
                continue
        assert not [path for path in held if path.startswith(ours)], held

    assert in_child(look) == 0
    assert db.get(b"00007") == b"v" * 50


def test_a_child_holds_no_file_of_a_column_that_is_being_made(tmp_path):
    with lsmkv.open(tmp_path / "db") as db:
        db.put_many((b"%05d" % n, b"v" * 50) for n in range(9000))
        db.flush()
        while not db.stats().ledger.gets.unfiltered_reads:  # the first blocks of a column
            db.get_many([b"%05d" % (n * 911 % 9000) for n in range(24)])
        assert not db.stats().hash_column_bytes
        db.get_many([b"%05d" % n for n in range(0, 9000, 300)])

        def look():
            gc.collect()
            links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
            held = [os.readlink(link) for link in links if os.path.islink(link)]
            assert not [path for path in held if path.startswith(str(tmp_path))], held

        assert in_child(look) == 0


def test_a_child_that_ends_in_the_usual_way_leaves_the_parents_files_alone(tmp_path):
    """``sys.exit`` in the child runs finalizers and leaves ``with`` blocks: neither may flush, sync or unlink anything."""
    code = (
        "import lsmkv, os, sys\n"
        "from pathlib import Path\n"
        "def files(): return {p.name: p.stat().st_size for p in Path(sys.argv[1]).iterdir() if p.name != 'STATUS'}\n"
        "with lsmkv.open(sys.argv[1]) as db:\n"
        "    db.put_many((b'%05d' % n, b'v') for n in range(1000))\n"
        "    before, pid = files(), os.fork()\n"
        "    if pid == 0: sys.exit(3)\n"
        "    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "    assert files() == before\n"
        "    db.put(b'k', b'v', sync=True)\n"
        "    db.check()\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "own")], check=False, timeout=60)
    assert done.returncode == 3


def test_background_work_of_the_parent_does_not_run_in_the_child():
    """Readers there would leave undone for ever what waits for the end of it."""

    def alone() -> None:
        assert not background.running
        with background.at_work():
            assert background.running
        assert not background.running

    with background.at_work():
        assert in_child(alone) == 0
        assert background.running


def test_a_child_forked_from_inside_background_work_may_leave_it():
    with ExitStack() as work:
        work.enter_context(background.at_work())
        assert in_child(work.close) == 0
        assert background.running
