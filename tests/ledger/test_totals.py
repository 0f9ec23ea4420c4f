"""Totals outlive the process that counted: recorded at a clean close, never ahead of the truth after a crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.counters import BlockCounts, WorkCounts
from lsmkv.base.ledger import Account, Ledger, LevelAccount
from lsmkv.observe.report import survey
from lsmkv.policy import Leveled, Tiered
from lsmkv.testing import CountingFileSystem, MemoryFileSystem
from tests.ledger.conftest import open_small

_n = st.integers(0, 1 << 50)
_blocks = st.builds(BlockCounts, *([_n] * len(BlockCounts.__slots__)))
_work = st.builds(WorkCounts, *([_n] * len(WorkCounts.__slots__)))
ACCOUNTS = st.builds(
    Account,
    absent=_n,
    scans=_n,
    entries=_n,
    entry_bytes=_n,
    flush=_work,
    wal=_work,
    manifest=_work,
    levels=st.lists(st.builds(LevelAccount, _blocks, _blocks, _work, _work), max_size=4).map(tuple),
)


@given(ACCOUNTS)
def test_an_account_survives_its_short_form(account: Account) -> None:
    assert Account.from_dict(account.to_dict()) == account


@given(ACCOUNTS, ACCOUNTS)
def test_a_difference_of_accounts_is_what_came_between(before: Account, between: Account) -> None:
    after = before + between
    spent = after - before
    assert all(spent.level(n) == between.level(n) for n in range(4))
    assert (spent.flush, spent.wal, spent.manifest) == (between.flush, between.wal, between.manifest)
    assert (spent.lookups, spent.scans, spent.entries) == (between.lookups, between.scans, between.entries)


@pytest.mark.parametrize(
    "nonsense", [None, {}, [], 3, {"levels": 7, "flush": [], "absent": "many"}, {"levels": [None], "new": 1}]
)
def test_a_record_of_another_version_counts_what_it_can(nonsense: object) -> None:
    account = Ledger(nonsense).totals()
    assert account.lookups == 0
    assert account.gets == BlockCounts()


def _work_a_little(db, round_: int) -> None:
    for i in range(300):
        db.put(b"%05d" % (i * 7 % 300 + 100 * round_), b"v" * 15)
    db.settle()
    for i in range(0, 500, 3):
        db.get(b"%05d" % i)
    list(db.scan())


@pytest.mark.parametrize("cleanly_empty", [True, False])
def test_totals_add_up_over_sessions(open_db, cleanly_empty: bool) -> None:
    expected = Account()
    for round_ in range(4):
        with open_db() as db:
            assert db.stats().totals.gets == expected.gets
            _work_a_little(db, round_)
            if cleanly_empty:
                db.flush()
            before_close = db.stats()
            assert before_close.totals.gets == expected.gets + before_close.ledger.gets
            expected = expected + before_close.ledger
    with open_db() as db:
        recorded = db.stats().totals - db.stats().ledger
    assert recorded.gets == expected.gets
    assert recorded.range_reads == expected.range_reads
    assert recorded.merges == expected.merges
    assert (recorded.entries, recorded.entry_bytes, recorded.scans) == (expected.entries, expected.entry_bytes, expected.scans)
    if cleanly_empty:
        assert recorded.flush == expected.flush
    else:
        assert recorded.flush.tasks > expected.flush.tasks  # closing flushed once more each time, and counted it


def test_a_session_that_only_looked_is_on_record_too(open_db) -> None:
    with open_db() as db:
        _work_a_little(db, 0)
    with open_db() as db:
        for i in range(50):
            db.get(b"%05d" % i)
        told = db.stats().totals.gets
    with open_db() as db:
        assert db.stats().totals.gets == told


def test_the_command_tells_the_totals_without_opening(disk: CountingFileSystem, open_db) -> None:
    with open_db() as db:
        _work_a_little(db, 0)
        db.flush()
        told = db.stats().totals
    report = survey("/db", disk)
    assert report.cost.account.gets == told.gets
    assert report.cost.account.merges == told.merges
    assert report.to_dict()["cost"]["account"]["levels"]


def test_after_a_power_cut_totals_are_behind_but_never_ahead() -> None:
    memory = MemoryFileSystem()
    with open_small(CountingFileSystem(memory)) as db:
        _work_a_little(db, 0)
    db = open_small(CountingFileSystem(memory))
    recorded = db.stats().totals - db.stats().ledger
    _work_a_little(db, 1)
    last = db.stats().totals
    with open_small(CountingFileSystem(memory.crash())) as again:
        found = again.stats().totals - again.stats().ledger
    assert recorded.gets.block_fetches <= found.gets.block_fetches <= last.gets.block_fetches
    assert recorded.flush.written_bytes <= found.flush.written_bytes <= last.flush.written_bytes


def test_opening_with_another_policy_is_a_change_of_policy(open_db) -> None:
    """What the old one had cost was held against the new one."""
    with open_db(policy=Tiered(4)) as db:
        _work_a_little(db, 0)
    with open_db(policy=Leveled(4)) as db:
        assert db.stats().totals.lookups > 0
        assert db.stats().since_switch.lookups == 0
        db.get(b"00000")
    with open_db() as db:
        assert db.stats().since_switch.lookups == 1


def test_asking_for_the_policy_that_is_there_changes_none(open_db) -> None:
    """A program that sets its policy at each start lost what was measured since it was changed."""
    with open_db(policy=Tiered(4)) as db:
        _work_a_little(db, 0)
        asked = db.stats().since_switch.lookups
        assert asked > 0
        for pace in ("greedy", "lazy"):
            db.set_policy(Tiered(4), pace)
            assert db.stats().since_switch.lookups == asked
        db.set_policy(Leveled(4))
        assert db.stats().since_switch.lookups == 0


class Switching(Ledger):
    """Its policy is changed just after the totals were read for the first time."""

    switched = False

    def totals(self) -> Account:
        told = super().totals()
        if not self.switched:
            self.switched = True
            self.calls.scans += 1
            self.note_switch()
        return told


def test_what_came_since_a_switch_is_never_less_than_nothing() -> None:
    """A change of policy between two readings gave negative counts."""
    ledger = Switching()
    ledger.calls.scans += 1
    assert ledger.since_switch().scans == 1, "as it was before"
    assert ledger.since_switch().scans == 0


def test_a_checkpoint_is_a_store_of_its_own(disk: CountingFileSystem, open_db) -> None:
    with open_db() as db:
        _work_a_little(db, 0)
        db.checkpoint("/copy")
    assert survey("/copy", disk).cost.account == Account()
