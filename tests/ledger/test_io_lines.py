"""The ``I/O:`` lines of the public docstrings, held against the ledger and the disk.

A public method without a line, with a clause unknown to :mod:`tests.ledger.io_clauses`, or without a situation to try it in,
fails.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

import lsmkv
from lsmkv import DB, Snapshot, Tiered, WriteBatch
from lsmkv.maintain import upkeep
from lsmkv.policy.ranges import manual_task
from lsmkv.reading import Reading
from lsmkv.testing import CountingFileSystem, MemoryFileSystem
from lsmkv.verbs import OwnerCalls
from tests.ledger.conftest import open_small
from tests.ledger.io_clauses import REPEATED, Case, Seen, check, clauses_of, done

KEYS = [b"%04d" % (2 * i) for i in range(400)]
BIG = 1 << 20


def _filled(case: Case) -> tuple[CountingFileSystem, DB]:
    """A store of several runs, its tables open, nothing in memory."""
    disk = CountingFileSystem(MemoryFileSystem())
    settings = {"policy": Tiered(size_ratio=4), "event_log": False, "block_cache_bytes": BIG if case.cached else 0}
    db = open_small(disk, **(settings | case.options))
    for i in range(0, len(KEYS), 40):
        db.put_many([(key, b"v" * 10) for key in KEYS[i // 40 :: 10]])
        db.flush()
        if case.settled:
            db.settle()
    return disk, db


def _absent(db: DB) -> None:
    for key in KEYS[:60]:
        db.get(key + b"x")


def _snapshot(act: Callable[[Snapshot], object]) -> Callable[[DB], object]:
    def call(db: DB) -> object:
        with db.snapshot() as snapshot:
            return act(snapshot)

    return call


def _write(db: DB, sync: bool = False) -> None:
    batch = WriteBatch()
    batch.put(b"new", b"v" * 50)
    batch.delete(KEYS[3])
    db.write(batch, sync=sync)


def _with_batch(db: DB, sync: bool = False) -> None:
    with db.batch(sync=sync) as batch:
        batch.put(b"new", b"v" * 50)


SOME = (KEYS[0], KEYS[7], KEYS[8], KEYS[390], b"absent")
RANGE = (KEYS[50], KEYS[300])
_pairs = [(b"%05d" % i, b"v" * 20) for i in range(5_000)]  # two frames
_memory = {"memtables": 1, "in_memory": True}
_roomy = {"memtable_bytes": BIG * 8}
SMALL_TABLES = {"policy": lsmkv.Leveled(size_ratio=2), "table_bytes": 1024}
NARROW = (KEYS[100], KEYS[101])
_full = {"full": True, "memtables": 1, "undurable_logs": 2}


def reading(call: Callable[[DB], object], **facts: object) -> list[Case]:
    return [Case(call, **facts), Case(call, cached=True, **facts), Case(call, **_memory, **facts)]


def writing(call: Callable[..., object], **facts: object) -> list[Case]:
    cases = [Case(call, **facts), Case(lambda db: call(db, sync=True), sync=True, **facts)]
    return [*cases, Case(call, **_full, **facts), Case(lambda db: call(db, sync=True), sync=True, **_full, **facts)]


def consumed(**arguments: object) -> Callable[[DB], object]:
    return lambda db: list(db.scan(*RANGE, **arguments))


PENDING = {"settled": False, "options": {"level0_runs": 2, "level0_stop_runs": 50}}
CASES: dict[tuple[type, str], list[Case]] = {
    (Reading, "path"): [Case(lambda db: db.path)],
    (DB, "options"): [Case(lambda db: db.options)],
    (Reading, "get"): [case for key in SOME for case in reading(lambda db, key=key: db.get(key), keys=(key,))],
    (Reading, "get_many"): reading(lambda db: db.get_many(SOME), keys=SOME),
    (Reading, "contains_many"): reading(lambda db: db.contains_many(SOME), keys=SOME),
    (Reading, "count_leading"): [
        *reading(lambda db: db.count_leading(SOME), keys=SOME),
        Case(lambda db: db.count_leading(KEYS[20:300]), keys=tuple(KEYS[20:300])),
    ],
    (Reading, "scan"): [
        Case(lambda db: db.scan(*RANGE), bounds=RANGE, lazy=True),
        *(Case(consumed(reverse=r), bounds=RANGE, cached=c) for r in (False, True) for c in (False, True)),
        Case(lambda db: list(db.scan(prefix=b"01")), bounds=(b"01", b"02")),
    ],
    (DB, "snapshot"): [Case(lambda db: db.snapshot())],
    (DB, "get_at"): [case for key in SOME for case in reading(lambda db, key=key: db.get_at(key, 10**6), keys=(key,))],
    (DB, "get_many_at"): reading(lambda db: db.get_many_at(SOME, 10**6), keys=SOME),
    (DB, "scan_at"): [Case(lambda db: list(db.scan_at(10**6, *RANGE, prefix=None, reverse=False)), bounds=RANGE)],
    (DB, "put"): writing(lambda db, **kw: db.put(b"new", b"v" * 50, **kw)),
    (DB, "delete"): writing(lambda db, **kw: db.delete(KEYS[5], **kw)),
    (DB, "put_many"): [
        *writing(lambda db, **kw: db.put_many(_pairs[:90], **kw)),
        *(Case(lambda db, s=s: db.put_many(iter(_pairs), sync=s), frames=2, sync=s, options=_roomy) for s in (False, True)),
    ],
    (DB, "delete_many"): [
        Case(lambda db, s=s: db.delete_many([key for key, _ in _pairs], sync=s), frames=2, sync=s, options=_roomy)
        for s in (False, True)
    ],
    (DB, "write"): writing(_write),
    (DB, "delete_range"): [
        *writing(lambda db, **kw: db.delete_range(*RANGE, **kw), bounds=RANGE, options={"range_delete_keys": 0}),
        *writing(lambda db, **kw: db.delete_range(*RANGE, **kw), bounds=RANGE),
        *(Case(lambda db, s=s: db.delete_range(*RANGE, sync=s), sync=s, bounds=RANGE, **_memory) for s in (False, True)),
        *writing(lambda db, **kw: db.delete_range(*NARROW, **kw), bounds=NARROW),
        *writing(lambda db, **kw: db.delete_range(b"z", None, **kw), bounds=(b"z", None)),
    ],
    (DB, "batch"): writing(_with_batch),
    (DB, "sync"): [Case(lambda db: db.sync(), memtables=1), Case(lambda db: db.sync(), full=True, memtables=2, undurable_logs=2)],
    (DB, "flush"): [Case(lambda db: db.flush()), Case(lambda db: db.flush(), memtables=1)],
    (DB, "compact"): [
        Case(lambda db: db.compact()),
        Case(lambda db: db.compact(), memtables=1),
        Case(lambda db: db.compact(*RANGE), bounds=RANGE, memtables=1),
        Case(lambda db: db.compact(*RANGE), bounds=RANGE, options=SMALL_TABLES),
        Case(lambda db: db.compact(*NARROW), bounds=NARROW, options=SMALL_TABLES),
        Case(lambda db: db.compact(b"z", None), bounds=(b"z", None)),
    ],
    (DB, "load_sorted"): [
        Case(lambda db: db.load_sorted(_pairs), memtables=n, options=_roomy | {"table_bytes": BIG, "level0_stop_runs": 50})
        for n in (0, 1)
    ],
    (DB, "set_options"): [Case(lambda db: db.set_options(table_bytes=BIG, block_cache_bytes=1 << 15), memtables=1)],
    (DB, "set_policy"): [Case(lambda db: db.set_policy(lsmkv.Leveled(size_ratio=3)))],
    (DB, "pending"): [Case(lambda db: db.pending()), Case(lambda db: db.pending(), **PENDING)],
    (DB, "step"): [Case(lambda db: db.step()), Case(lambda db: db.step(), **PENDING)],
    (DB, "settle"): [Case(lambda db: db.settle(), **PENDING)],
    (DB, "checkpoint"): [Case(lambda db: db.checkpoint("/copy")), Case(lambda db: db.checkpoint("/copy"), memtables=1)],
    (DB, "stats"): [Case(lambda db: db.stats(), memtables=1)],
    (DB, "tree"): [Case(lambda db: db.tree())],
    (DB, "check"): [Case(lambda db: db.check(), memtables=1)],
    (DB, "close"): [Case(lambda db: db.close()), Case(lambda db: db.close(), memtables=1)],
    (DB, "forked"): [Case(lambda db: db.forked())],
    (Snapshot, "get"): [case for key in SOME for case in reading(_snapshot(lambda s, key=key: s.get(key)), keys=(key,))],
    (Snapshot, "get_many"): reading(_snapshot(lambda s: s.get_many(SOME)), keys=SOME),
    (Snapshot, "contains_many"): reading(_snapshot(lambda s: s.contains_many(SOME)), keys=SOME),
    (Snapshot, "scan"): [
        Case(_snapshot(lambda s, r=r: list(s.scan(*RANGE, reverse=r))), bounds=RANGE, cached=c)
        for r in (False, True)
        for c in (False, True)
    ],
    (Snapshot, "close"): [Case(lambda db: db.snapshot().close())],
}


def public(owner: type) -> list[tuple[type, str]]:
    abstract = getattr(owner, "__abstractmethods__", frozenset())
    rooms = [owner, OwnerCalls] if issubclass(owner, OwnerCalls) else [owner]
    members = [(n, member) for room in rooms for n, member in vars(room).items() if not n.startswith("_") and n not in abstract]
    return [(owner, name) for name, member in members if callable(member) or isinstance(member, property)]


@pytest.mark.parametrize(
    ("owner", "name"), [*public(Reading), *public(DB), *public(Snapshot)], ids=lambda part: getattr(part, "__name__", part)
)
def test_a_method_costs_no_more_than_its_docstring_says(owner: type, name: str) -> None:
    clauses = clauses_of(owner, name)
    for case in CASES[owner, name]:
        disk, db = _filled(case)
        for table in db.tree().tables:
            db._tables.get(table.number)  # opening is paid once
        if case.full:
            limit = db.options.memtable_bytes
            while db._box.current.mem.bytes < limit:
                db.put(b"full%05d" % db.stats().last_seq, b"v" * 20)
            if name == "sync":
                db.put(b"next", b"v")
        elif case.memtables:
            db.put_many([(key, b"w") for key in (*SOME, *KEYS[100:103])])
        if case.cached:
            case.call(db)
        before, shape, memory = db.stats().ledger, db.tree(), tuple(sorted(db._box.current.mem.newest))
        disk.clear()
        if clauses == [REPEATED]:
            while db.pending() is not None:
                _step(db, disk, case)
            assert db.pending() is None
            continue
        told = case.call(db)
        ledger = db._core.ledger.account()
        seen = Seen(case, shape, db, told, (ledger - before).flush.written_bytes, memory)
        check(clauses, seen, done(db, ledger - before, disk))
        if "one listing of the directory" in clauses:
            assert disk.calls("listdir") == 1
        with suppress(lsmkv.LsmError):
            db.close()


def _step(db: DB, disk: CountingFileSystem, case: Case) -> None:
    """One step of several, held against the line of ``step``."""
    before, shape = db.stats().ledger, db.tree()
    disk.clear()
    told = db.step()
    check(clauses_of(DB, "step"), Seen(case, shape, db, told), done(db, db.stats().ledger - before, disk))


def test_a_compaction_that_rewrites_what_it_need_not_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clause allowed whatever was gone afterwards: compacting everything passed."""
    monkeypatch.setattr(upkeep, "manual_task", lambda shape, start, stop: manual_task(shape, None, None))
    with pytest.raises(AssertionError, match="the line allows "):
        test_a_method_costs_no_more_than_its_docstring_says(DB, "compact")


def test_a_line_that_promises_too_much_is_caught() -> None:
    """The check itself: a lookup that fetched blocks does not pass as costing nothing."""
    disk, db = _filled(Case(_absent))
    before = db.stats().ledger
    db.get(KEYS[0])
    happened = done(db, db.stats().ledger - before, disk)
    with pytest.raises(AssertionError, match="fetches: 1, the line allows 0"):
        check(["none"], Seen(Case(_absent), db.tree(), db), happened)
    with pytest.raises(AssertionError, match="unknown clause"):
        check(["hardly anything"], Seen(Case(_absent), db.tree(), db), happened)
