"""Large merges in a second process: they write what a merge here writes, and whatever happens to either process, nothing is lost
and nothing is left behind.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lsmkv
from lsmkv import Leveled
from lsmkv.env.helper import Channel, HelperProcess
from lsmkv.env.posix import PosixFileSystem
from lsmkv.live.helping import MOST_FAILURES, START_BYTES, WARM_BYTES
from lsmkv.live.tables import FEWEST
from lsmkv.maintain.helper import READY
from lsmkv.testing import ManualScheduler, MemoryFileSystem

VALUE = 1000
COUNT = 5 << 20
ROWS = COUNT // VALUE
"""Entries of a merge that is worth a process."""

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def opened(path: Path | str, **overrides: object) -> lsmkv.DB:
    chosen: dict[str, object] = {
        "memtable_bytes": 64 << 20,
        "table_bytes": 1 << 20,
        "level0_runs": 20,
        "event_log": False,
        "status_interval_s": None,
    }
    return lsmkv.open(path, lsmkv.Options(**(chosen | overrides)))


def key(n: int) -> bytes:
    return b"%016d" % (n * 7919 % 1_000_003)


def value(n: int) -> bytes:
    return random.Random(n).randbytes(VALUE)


def fill(db: lsmkv.DB, count: int = ROWS) -> dict[bytes, bytes | None]:
    """Three runs at level 0, with overwritten and deleted keys; what is in the store."""
    contents: dict[bytes, bytes | None] = {key(n): value(n) for n in range(count)}
    db.put_many(contents.items())
    db.flush()
    for start in (0, 50):
        changed: dict[bytes, bytes | None] = {key(n): value(n + start + 1) for n in range(start, count, 97)}
        db.put_many(changed.items())
        gone = [key(n) for n in range(start, count, 83)]
        db.delete_many(gone)
        contents |= changed | dict.fromkeys(gone)
        db.flush()
    return contents


def live(contents: dict[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
    return sorted((k, v) for k, v in contents.items() if v is not None)


def table_files(path: Path) -> set[int]:
    return {int(name.stem) for name in path.glob("*.sst")}


def named(db: lsmkv.DB) -> set[int]:
    return {table.number for table in db.tree().tables}


def helper_of(db: lsmkv.DB) -> int | None:
    return db._core.helping.pid


def ends(pid: int) -> bool:
    """Whether a process that is no child of ours to wait for ends within a while."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        watch = select.poll()
        watch.register(descriptor, select.POLLIN)
        return bool(watch.poll(20_000))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_large_merge_is_done_there_and_writes_what_one_here_writes(tmp_path: Path, compression: str) -> None:
    trees = []
    for name, allowed in (("here", False), ("there", True)):
        with opened(tmp_path / name, helper_process=allowed, compression=compression) as db, ExitStack() as held:
            contents = fill(db)
            snapshot = held.enter_context(db.snapshot())
            before = list(snapshot.scan())
            db.put_many([(key(n), b"new") for n in range(0, ROWS, 61)])
            db.flush()
            db.compact()
            assert db.stats().compactions_apart == allowed
            assert (helper_of(db) is not None) == allowed
            assert list(snapshot.scan()) == before == live(contents)
            assert list(db.scan()) == live(contents | {key(n): b"new" for n in range(0, ROWS, 61)})
            merges = db.stats().ledger.merges
            tables = [replace(t, number=0, born_s=0.0, newest_s=0.0, tombstone_s=0.0) for t in db.tree().tables]
            trees.append((tables, replace(merges, reads=0, read_blocks=0)))
            assert table_files(tmp_path / name) == named(db)
            db.check()
        assert not lsmkv.verify(tmp_path / name).problems
    assert trees[0] == trees[1]
    assert len(trees[0][0]) > 3


@pytest.mark.parametrize(
    "overrides",
    [
        {"helper_process": False},
        {"scheduler": ManualScheduler()},
        {"background_bytes_per_s": 1e9},
        {"fs": MemoryFileSystem()},
    ],
    ids=["forbidden", "by hand", "a limit on the way", "files in memory"],
)
def test_it_is_done_here_where_a_process_cannot_or_must_not(tmp_path: Path, overrides: dict[str, object]) -> None:
    with opened("/db" if "fs" in overrides else tmp_path / "db", **overrides) as db:
        contents = fill(db)
        db.compact()
        assert not db.stats().compactions_apart
        assert helper_of(db) is None
        assert list(db.scan()) == live(contents)


def test_small_merges_and_those_that_range_deletes_concern_are_done_here(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        fill(db, 1000)
        db.compact()
        assert helper_of(db) is None
        contents = fill(db)
        db.compact()
        there = db.stats().compactions_apart
        assert there
        db.put_many([(key(n), b"small") for n in range(WARM_BYTES // 400)])
        db.flush()
        with db.snapshot():
            db.delete_range(key(0), None)
            db.flush()
            db.compact()
        assert db.stats().compactions_apart == there
        gone = {k for k in contents if k >= key(0)}
        assert list(db.scan()) == live({k: v for k, v in contents.items() if k not in gone})


def test_the_option_counts_from_the_next_merge_on(tmp_path: Path) -> None:
    with opened(tmp_path / "db", helper_process=False) as db:
        contents = fill(db)
        db.set_options(helper_process=True)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)


class Files(PosixFileSystem):
    """The machine's, and something happens when the given table of a merge is to be created."""

    __slots__ = ("action", "left")

    bare = True

    def __init__(self, action: object, after: int = 2) -> None:
        self.action = action
        self.left = -1
        self.after(after)

    def after(self, creations: int) -> None:
        self.left = creations

    def open(self, path: str, mode: str = "r", *, direct: bool = False):
        if mode == "create" and path.endswith(".sst"):
            self.left -= 1
            if not self.left:
                self.action()
        return super().open(path, mode, direct=direct)


def no_space() -> None:
    raise OSError(28, "No space left on device")


def interrupt() -> None:
    raise KeyboardInterrupt


def test_one_that_dies_in_the_middle_is_no_failure_of_the_store(tmp_path: Path) -> None:
    files = Files(lambda: os.kill(helper_of(db), signal.SIGKILL), 0)
    with opened(tmp_path / "db", fs=files) as db:
        contents = fill(db)
        for died in range(1, MOST_FAILURES + 2):
            files.after(3)
            db.compact()
            stats = db.stats()
            assert not stats.compactions_apart
            assert not stats.background_failures
            assert list(db.scan()) == live(contents)
            assert table_files(tmp_path / "db") == named(db)
            if died == MOST_FAILURES:
                files.action = lambda: None  # nobody is asked any more
                break
        more = fill(db)
        db.compact()
        assert helper_of(db) is None
        assert list(db.scan()) == live(more)


@pytest.mark.parametrize("action", [no_space, interrupt], ids=["full disk", "ctrl-c"])
def test_a_merge_that_ends_early_leaves_nothing(tmp_path: Path, action: object) -> None:
    files = Files(action, 0)
    with opened(tmp_path / "db", fs=files) as db:
        contents = fill(db)
        before = named(db)
        files.after(3)
        if action is interrupt:
            with pytest.raises(KeyboardInterrupt):
                db.compact()
            assert table_files(tmp_path / "db") == named(db) == before
        else:
            db.compact()  # done here then
            assert not db.stats().compactions_apart
        assert list(db.scan()) == live(contents)
        files.after(-1)
        db.put(b"one", b"more")
        db.flush()
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents | {b"one": b"more"})
        assert table_files(tmp_path / "db") == named(db)


def test_damage_is_told_as_by_a_merge_here(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        fill(db)
        before = named(db)
        victim = tmp_path / "db" / f"{max(before):06d}.sst"
        with victim.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 8)
        with pytest.raises(lsmkv.CorruptionError, match=victim.name):
            db.compact()
        assert table_files(tmp_path / "db") == named(db) == before


def test_closing_does_not_wait_for_it(tmp_path: Path) -> None:
    files = Files(lambda: pids.append(helper_of(db)) or setattr(db._core, "stopping", True), 0)
    pids: list[int] = []
    db = opened(tmp_path / "db", fs=files)
    contents = fill(db)
    before = named(db)
    files.after(2)
    with pytest.raises(lsmkv.ClosedError):
        db.compact()
    assert helper_of(db) is None
    assert table_files(tmp_path / "db") == before
    db.close()
    assert ends(pids[0])
    with opened(tmp_path / "db", helper_process=False) as again:
        assert list(again.scan()) == live(contents)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.engine.test_helper_process import Files, fill, helper_of, opened

def die():
    print(helper_of(db), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

files = Files(die, 0)
db = opened(sys.argv[1], fs=files)
fill(db)
files.after(3)
db.compact()
"""


def test_the_death_of_the_store_ends_it_and_the_next_opening_finds_everything(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "db"), str(root)], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    with opened(tmp_path / "db", scheduler=ManualScheduler()) as db:
        assert table_files(tmp_path / "db") == named(db)
        assert ends(pid)
        assert table_files(tmp_path / "db") == named(db)  # whatever it still did reached no name
        with opened(tmp_path / "other", scheduler=ManualScheduler()) as other:
            assert list(db.scan()) == live(fill(other))


def test_a_forked_child_leaves_it_to_the_parent(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        contents = fill(db)
        db.compact()
        pid = os.fork()
        if not pid:
            os._exit(db._core.helping.pid is not None)
        assert not os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        db.put(b"one", b"more")
        db.flush()
        db.compact()
        assert db.stats().compactions_apart == 2
        assert list(db.scan()) == live(contents | {b"one": b"more"})
        there = helper_of(db)
    assert ends(there)


def test_one_that_idles_ends_and_another_one_takes_its_place(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        contents = fill(db)
        db.compact()
        first, helping = helper_of(db), db._core.helping
        now = db._core.clock.monotonic()
        left = helping.rest(now)
        assert left is not None
        assert 0 < left <= 60
        assert helping.rest(now + 61) is None
        assert ends(first)
        db.put(b"one", b"more")
        db.flush()
        db.compact()
        assert db.stats().compactions_apart == 2
        assert helper_of(db) not in (None, first)
        assert list(db.scan()) == live(contents | {b"one": b"more"})


def test_descriptors_and_processes_return_to_the_start(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with opened(tmp_path / "db") as db:
        fill(db)
        db.compact()
        there = helper_of(db)
        assert len(os.listdir("/proc/self/fd")) > len(before)
    assert set(os.listdir("/proc/self/fd")) == before
    assert not Path(f"/proc/{there}").exists()  # waited for, too


def test_where_no_process_can_be_started_merges_run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``sys.executable`` is empty where Python is embedded."""
    monkeypatch.setattr(sys, "executable", "")
    with opened(tmp_path / "db") as db:
        contents = fill(db)
        db.compact()
        assert not db.stats().compactions_apart
        assert list(db.scan()) == live(contents)


def test_a_program_that_is_no_python_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with opened(tmp_path / "db") as db:
        contents = fill(db)
        db.compact()
        assert not db.stats().compactions_apart
        assert helper_of(db) is None
        assert list(db.scan()) == live(contents)


# what it makes for single gets


def asked(db: lsmkv.DB, contents: dict[bytes, bytes | None], times: int = 4 * FEWEST) -> None:
    for k in random.Random(3).choices([*contents], k=times):
        assert db.get(k) == contents[k]


def test_tables_are_warm_when_they_are_shown_in_a_store_that_single_gets_ask(tmp_path: Path) -> None:
    with opened(tmp_path / "db", block_cache_bytes=64 << 20, level0_runs=1, policy=Leveled(4)) as db:
        contents: dict[bytes, bytes | None] = {key(n): value(n) for n in range(ROWS)}
        db.put_many(contents.items())
        db.compact()
        asked(db, contents, 3 * ROWS)
        changed = {key(n): value(n + 5) for n in range(0, ROWS, 3)}
        db.put_many(changed.items())
        contents |= changed
        db.compact()
        assert db.stats().compactions_apart
        reads = db.stats().block_reads
        asked(db, contents)
        assert db.stats().block_reads == reads
        tables = db._core.tables
        held = sum(VALUE * t.entries for t in db.tree().tables)
        assert db._core.cache.lent == held
        assert tables.directory.lent == sum(10 * t.entries for t in db.tree().tables)
        db.delete_many(contents)
        db.compact()
        assert not db.tree().tables
        assert not db._core.cache.lent
        assert not tables.directory.lent


def test_values_that_do_not_fit_the_cache_count_against_the_memory_for_hash_columns(tmp_path: Path) -> None:
    with opened(tmp_path / "db", block_cache_bytes=2 << 20, hash_column_bytes=8 << 20) as db:
        contents: dict[bytes, bytes | None] = {key(n): value(n) for n in range(ROWS)}
        db.put_many(contents.items())
        db.compact()
        asked(db, contents, 4 * ROWS)
        changed = {key(n): value(n + 5) for n in range(0, ROWS, 7)}
        db.put_many(changed.items())
        contents |= changed
        db.compact()
        assert not db._core.cache.lent  # all or none: what is hot is the cache's business
        assert db.stats().hash_column_bytes == sum((10 + VALUE) * t.entries for t in db.tree().tables)
        asked(db, contents)
        db.set_options(hash_column_bytes=1 << 20)  # they all go
        assert not db.stats().hash_column_bytes
        asked(db, contents)


def test_a_store_that_nobody_asks_gets_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        contents = fill(db)
        db.compact()
        assert db.stats().compactions_apart
        assert not db.stats().hash_column_bytes
        assert not db._core.cache.lent
        assert list(db.scan()) == live(contents)


# the process by itself


def test_both_sides_hear_each_other_and_of_the_others_end() -> None:
    process = HelperProcess("lsmkv.maintain.helper")
    try:
        assert process.channel.receive(20) == READY
        with pytest.raises(TimeoutError):
            process.channel.receive(0)
        assert process.memory._descriptor >= 0
        end = process.memory.write((b"abc", np.arange(4, dtype=np.uint16), bytearray(b"xyz")), 10)
        assert end == 10 + 3 + 8 + 3
        assert process.memory.read(14, 10) == b"abc" + np.arange(4, dtype=np.uint16).tobytes() + b"xyz"
        with pytest.raises(EOFError):
            process.memory.read(15, 10)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EOFError):
            process.channel.receive(20)
    finally:
        process.end()
        process.end()


def test_a_message_of_any_size_arrives_whole() -> None:
    a, b = socket.socketpair()
    left, right = Channel(a), Channel.of(os.dup(b.fileno()))
    b.close()
    for size in (0, 1, 70_000):
        sent = bytes(size)
        left.send((sent, "and a word"))
        assert right.receive(5) == (sent, "and a word")
    with open(__file__, "rb") as file:
        left.send_file(file.fileno())
        descriptor = right.receive_file()
        assert os.path.samestat(os.fstat(descriptor), os.fstat(file.fileno()))
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)
    left.close()
    with pytest.raises(EOFError):
        right.receive(5)
    right.close()


def test_a_process_is_worth_it_only_for_so_much() -> None:
    assert WARM_BYTES < START_BYTES <= COUNT
