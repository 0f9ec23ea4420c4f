"""What may come in the way of a merge in a second process, beside the deaths: programs that are unlike others, files that are not
bare, answers that fit no question, budgets that run out. The merge is done all the same, and nothing of it is left.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv
from lsmkv.env.helper import HelperProcess
from lsmkv.env.posix import PosixFile, PosixFileSystem
from lsmkv.live.helping import MOST_FAILURES, Helping
from lsmkv.maintain.helper import READY
from lsmkv.sstable.finder import FinderMaker, suits
from lsmkv.sstable.finderbytes import PackedFinder, pack
from tests.engine.test_helper_process import (
    ROWS,
    VALUE,
    Files,
    asked,
    ends,
    fill,
    helper_of,
    key,
    live,
    named,
    no_space,
    opened,
    table_files,
    value,
)

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

FEW = 4500
"""Entries of a merge that is just worth a process."""


def more(db: lsmkv.DB, contents: dict[bytes, bytes | None], turn: int) -> None:
    """Something to merge again."""
    changed: dict[bytes, bytes | None] = {key(n): value(n + turn + 7) for n in range(turn, FEW, 5)}
    db.put_many(changed.items())
    db.flush()
    contents |= changed


# programs that are unlike others


def test_what_else_stands_on_the_import_path_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, None, b"/bytes", Path("/a/path")])
    with opened(tmp_path / "db") as db:
        contents = fill(db, FEW)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)


def test_a_program_that_has_replaced_the_sockets_merges_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries of green threads take ``select.poll`` away."""
    with opened(tmp_path / "db") as db:
        contents = fill(db, FEW)
        monkeypatch.delattr(select, "poll")
        db.compact()
        assert not db.stats().compactions_apart
        assert not db.stats().background_failures
        assert list(db.scan()) == live(contents)


def test_what_lies_beside_a_program_is_imported_no_sooner_than_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python imports ``sitecustomize`` before a script's directory counts; and a directory may have a colon in its name."""
    beside, seen = tmp_path / "a:b", tmp_path / "seen"
    beside.mkdir()
    for place in (beside, tmp_path):
        (place / "sitecustomize.py").write_text(f"open({str(seen)!r}, 'w').close()")
        monkeypatch.syspath_prepend(place)
    with opened(tmp_path / "db") as db:
        contents = fill(db, FEW)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)
    assert not seen.exists()


class Wrapped:
    """A file as a program may see it: its contents are what the file system makes of them."""

    def __init__(self, file: PosixFile) -> None:
        self._file = file

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


class Wrapping(PosixFileSystem):
    """The machine's files, each with something around it."""

    __slots__ = ()

    def open(self, path: str, mode: str = "r", *, direct: bool = False):
        return Wrapped(super().open(path, mode, direct=direct))


def test_files_that_are_not_bare_stay_here(tmp_path: Path) -> None:
    with opened(tmp_path / "db", fs=Wrapping()) as db:
        contents = fill(db, FEW)
        db.compact()
        assert helper_of(db) is None
        assert list(db.scan()) == live(contents)


HELD = """
import os, signal, sys
from lsmkv.env.helper import HelperProcess
process = HelperProcess("lsmkv.maintain.helper")
process.channel.receive(20)
os.dup(process.channel._socket.fileno())
child = os.fork()
if not child:
    os.read(0, 1)
    os._exit(0)
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_fork_that_has_the_socket_does_not_keep_it_alive() -> None:
    """One that was made while it was being started: it knows of nothing that it could close."""
    with subprocess.Popen([sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        pid = int(parent.stdout.readline())
        assert ends(pid)
        assert parent.wait(20) == -signal.SIGKILL
        parent.stdin.close()  # now the fork ends


# merges that must not go on there, and processes that are of no use


def test_a_limit_that_is_set_meanwhile_counts_at_once(tmp_path: Path) -> None:
    files = Files(lambda: db.set_options(background_bytes_per_s=1e9), 0)
    with opened(tmp_path / "db", fs=files) as db:
        contents = fill(db)
        files.after(2)
        db.compact()
        assert not db.stats().compactions_apart
        assert list(db.scan()) == live(contents)
        assert table_files(tmp_path / "db") == named(db)
        db.set_options(background_bytes_per_s=None)
        more(db, contents, 1)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)


def test_files_that_cannot_be_created_are_no_fault_of_the_process(tmp_path: Path) -> None:
    files = Files(no_space, 0)
    with opened(tmp_path / "db", fs=files) as db:
        contents = fill(db, FEW)
        for turn in range(MOST_FAILURES):
            files.after(1)
            db.compact()  # here
            more(db, contents, turn)
        files.after(-1)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)
        assert table_files(tmp_path / "db") == named(db)


def test_one_that_refuses_what_can_be_done_here_goes(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        contents = fill(db, FEW)
        db.compact()
        first = helper_of(db)
        assert first is not None
        resource.prlimit(first, resource.RLIMIT_NOFILE, (0, 0))
        more(db, contents, 1)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert helper_of(db) is None
        more(db, contents, 2)
        db.compact()
        assert db.stats().compactions_apart == 2
        assert list(db.scan()) == live(contents)
        assert table_files(tmp_path / "db") == named(db)


def test_after_so_many_that_refused_there_is_no_other() -> None:
    helping = Helping()
    helping.allow("lsmkv.maintain.helper")
    try:
        for _ in range(MOST_FAILURES):
            assert helping.take(0.0) is not None
            helping.refused()
            assert helping.take(0.0) is not None  # the merge failed here, too
            helping.done_here()
            assert helping.pid is not None
            helping.refused()
            helping.done_here()
            assert helping.pid is None
        assert helping.take(0.0) is None
    finally:
        helping.end()


def test_an_answer_to_another_question_is_none(tmp_path: Path) -> None:
    """A call was interrupted when the process was there and had not been heard yet; its first word is then no answer."""
    with opened(tmp_path / "db") as db:
        contents = fill(db, FEW)
        assert db._core.helping.take(db._core.clock.monotonic()) is not None
        scan = db.scan()  # keeps the inputs of the first merge in place
        next(scan)
        for turn in range(3):
            db.compact()
            assert list(db.scan()) == live(contents)
            more(db, contents, turn)
        db.check()
        assert db.stats().compactions_apart == 2


# what it makes for single gets


def gained(db: lsmkv.DB) -> dict[bytes, bytes | None]:
    """A store whose tables have finders."""
    contents: dict[bytes, bytes | None] = {key(n): value(n) for n in range(ROWS)}
    db.put_many(contents.items())
    db.compact()
    asked(db, contents, 2 * ROWS)
    changed = {key(n): value(n + 5) for n in range(0, ROWS, 7)}
    db.put_many(changed.items())
    contents |= changed
    db.compact()
    return contents


def test_tables_that_cannot_all_be_open_have_no_finders_that_nobody_asks(tmp_path: Path) -> None:
    with opened(tmp_path / "db", max_open_tables=3) as db:
        contents = gained(db)
        tables = db._core.tables
        having = {number: reader for number, reader in tables.readers.items() if reader.finder is not None}
        assert having
        assert len(named(db)) > 3
        assert tables.directory.lent == sum(10 * reader.properties.meta.entries for reader in having.values())
        assert db._core.cache.lent == sum(VALUE * reader.properties.meta.entries for reader in having.values())
        asked(db, contents)
        db.delete_many(contents)
        db.compact()
        assert not tables.directory.lent
        assert not db._core.cache.lent


def test_tables_that_only_a_scan_keeps_have_no_finders(tmp_path: Path) -> None:
    with opened(tmp_path / "db") as db:
        contents = gained(db)
        scan = db.scan()
        assert next(scan) == live(contents)[0]
        before = list(db._core.tables.readers.values())
        assert all(reader.finder is not None for reader in before)
        more(db, contents, 1)
        db.compact()
        assert {reader.number for reader in before} <= db._core.obsolete  # still there
        assert not any(reader.finder is not None for reader in before)
        asked(db, contents)


def test_a_finder_that_does_not_find_is_not_taken(tmp_path: Path) -> None:
    """As one is that another version of this program made, which was installed while this one runs."""
    with opened(tmp_path / "db", helper_process=False) as db:
        contents: dict[bytes, bytes | None] = {key(n): b"%07d" % n for n in range(1000)}
        db.put_many(contents.items())
        db.compact()
        (table,) = db.tree().tables
        tables = db._core.tables
        reader = tables.get(table.number)
        seeds = tables.finders.seeds(1000, 7000, [])
        assert seeds is not None
        maker, finder = FinderMaker(reader.file, suits(reader.file), *seeds), None
        while finder is None:
            finder = maker.advance(reader.counters)
        held = bytearray()

        def write(buffers: object, at: int) -> int:
            for buffer in buffers:
                held.extend(memoryview(buffer).cast("B"))
            return len(held)

        packed: PackedFinder = pack(finder, table.number, seeds[1], 0, write)[0]
        tables.finders.adopt([(reader, packed)], [], lambda size, _: bytes(size))
        assert reader.finder is None
        assert not tables.directory.lent
        asked(db, contents)
        tables.finders.adopt([(reader, packed)], [], lambda size, at: bytes(held[at : at + size]))
        assert reader.finder is not None
        asked(db, contents)


def test_it_hears_its_parent_and_ends_with_it() -> None:
    process = HelperProcess("lsmkv.maintain.helper")
    try:
        assert process.channel.receive(20) == READY
        process.channel.close()
        assert ends(process.pid)
    finally:
        process.end()
    assert not os.path.exists(f"/proc/{process.pid}")
