"""The controller and power cuts: no commit is lost in mid-transition, the journal stays readable, a full disk stops nothing."""

from __future__ import annotations

import errno
from random import Random

import lsmkv
from lsmkv.base.filenames import JOURNAL
from lsmkv.controller.decide import Reshape
from lsmkv.controller.journal import LIMIT_BYTES, Record, last_number, new_journal, read_journal
from lsmkv.controller.prices import Mix
from lsmkv.policy import Leveled
from lsmkv.testing import FailOp, FaultFileSystem, ManualClock, MemoryFileSystem
from tests.power import cut_before


def workload(db, states, rounds=2):
    """Writes, then enough scans for merges, and so on; ``states`` gets the contents after each commit, before it is made."""
    rng = Random(5)
    for round_ in range(rounds):
        for n in range(60):
            pairs = [(b"%04d" % rng.randrange(2000), b"%d-%d" % (round_, n) * 5) for _ in range(25)]
            states.append({**states[-1], **dict(pairs)})
            db.put_many(pairs, sync=True)
            db.step()
        for _ in range(4):
            for _ in range(260):
                next(iter(db.scan(start=b"%04d" % rng.randrange(2000))), None)
            db.settle()


def run(open_db, fs, stop_at):
    """The workload up to a power cut; the contents after each commit, and how many calls there were."""
    states: list[dict[bytes, bytes]] = [{}]
    with cut_before(fs, stop_at) as cut:
        db = open_db(fs=fs, memtable_bytes=2048, policy=Leveled(10))
        workload(db, states)
        told = db.stats().controller
        db.close()
        assert told is not None
        assert told.merges > 0
        assert told.decisions > 1
    return states, cut.calls


def test_a_power_cut_in_mid_transition_loses_nothing_and_the_controller_goes_on(open_db):
    total = run(open_db, MemoryFileSystem(), -1)[1]
    rng = Random(3)
    for stop_at in range(1, total, max(1, total // 10)):
        fs = MemoryFileSystem()
        states, _ = run(open_db, fs, stop_at)
        after = fs.crash(rng)
        numbers = [line.get("decision") for line in read_journal(after, "/db")] if after.isdir("/db") else []
        with open_db(fs=after, memtable_bytes=2048) as db:
            got = dict(db.scan())
            db.check()
            assert got in states[-2:], "every synced commit is there, the last one may be"
            workload(db, [{}], rounds=1)
            told = db.stats().controller
        assert told is not None
        assert told.decisions > 0
        made = [line["decision"] for line in read_journal(after, "/db") if line["kind"] != "outcome"]
        assert made == sorted(set(made)), "numbers go on after a crash"
        assert all(number in numbers for number in made[: -told.decisions])


def test_a_journal_that_cannot_be_written_costs_no_decision(open_db):
    fs = FaultFileSystem(MemoryFileSystem())
    fs.add(FailOp("open", path=JOURNAL, errno=errno.ENOSPC))
    with open_db(fs=fs, memtable_bytes=2048, policy=Leveled(10)) as db:
        workload(db, [{}])
        told = db.stats().controller
        assert told is not None
        assert told.merges > 0
        assert told.journal_failures >= told.decisions


def test_the_journal_is_bounded_and_its_numbers_survive_turning_over(memory_fs):
    memory_fs.mkdir("/db")
    journal = new_journal(memory_fs, "/db", ManualClock())
    for number in range(1, 9_000):
        journal.note("merge", lambda number=number: {"decision": number, "runs": list(range(20))})
    assert sum(memory_fs.size(f"/db/{name}") for name in memory_fs.listdir("/db")) <= 2 * LIMIT_BYTES
    assert last_number(read_journal(memory_fs, "/db")) == 8_999
    assert last_number([]) == 0


def test_a_record_that_saw_no_operation_has_an_outcome_all_the_same():
    one = Reshape(Leveled(4).geometry, Leveled(10).geometry, 0.0, 0.1)
    assert Record(1, one, Mix()).outcome(lsmkv.Prices(), 10.0)["did_cost_blocks_per_operation"] == 0.0
