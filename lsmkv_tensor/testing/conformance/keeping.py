"""What a backend keeps, for how long, and in how much room."""

from __future__ import annotations

from lsmkv_tensor.testing.conformance.damage import disk_bytes
from lsmkv_tensor.testing.conformance.trial import Trial, fail, key

__all__ = ["capacity", "capacity_after_restart", "delete_accounting", "duplicate_put", "restart", "round_trip"]

SLACK = 1.10
"""How far above its capacity a backend may be: directories and indexes have sizes that are not its pages'."""
FILL = 2
"""How many times its capacity is put into it."""
BATCH = 16


def round_trip(trial: Trial) -> None:
    """Pages come back byte for byte; those never stored are neither there nor delivered."""
    trial.start()
    if trial.exists(range(8)) != [False] * 8 or trial.get(range(8)) != [False] * 8:
        fail("an empty backend claims to have pages")
    trial.expect_all(range(8), trial.put(range(8)), "not taken")
    trial.expect_all(range(8), trial.exists(range(8)), "stored, but said to be absent")
    trial.expect_all(range(8), trial.get(range(8)), "stored, but not delivered")
    absent = [2, 100, 5, 101]
    if trial.exists(absent) != [True, False, True, False]:
        fail("between pages that are there, it does not tell absent ones")
    if trial.get(absent) != [True, False, True, False]:
        fail("a get with an absent page among others does not deliver the others, and only them")


def restart(trial: Trial) -> None:
    """What was stored is there after a close and another opening."""
    trial.start()
    trial.put(range(16))
    trial.restart()
    trial.expect_all(range(16), trial.exists(range(16)), "not found after a restart")
    trial.expect_all(range(16), trial.get(range(16)), "not delivered after a restart")


def capacity(trial: Trial) -> None:
    """However much is stored, the disk space taken stays within the capacity, and what came last is there."""
    trial.start()
    last = _fill(trial, 0)
    _check_room(trial)
    if not any(trial.get(last)):
        fail("nothing of the last batch is there: a full backend takes nothing more")


def capacity_after_restart(trial: Trial) -> None:
    """What an earlier process left counts: filling again after a restart does not exceed the capacity."""
    trial.start()
    first = _fill(trial, 0)
    trial.restart()
    _fill(trial, first[-1] + 1)
    _check_room(trial)


def duplicate_put(trial: Trial) -> None:
    """Storing what is there already succeeds, and neither takes more room nor changes anything."""
    trial.start()
    ids = list(range(32))
    trial.put(ids)
    before = disk_bytes(trial.directory)
    for _ in range(4):
        trial.expect_all(ids, trial.put(ids), "already there, but its second put failed")
    added = disk_bytes(trial.directory) - before
    if added > len(ids) * trial.subject.page_bytes:
        fail(f"putting {len(ids)} pages four times again took {added} bytes more")
    twice = [40, 41, 40, 41]
    trial.expect_all(twice, trial.put(twice), "given twice in one put, not taken")
    trial.expect_all([*ids, 40, 41], trial.get([*ids, 40, 41]), "not delivered after a second put")


def delete_accounting(trial: Trial) -> None:
    """Deleted pages are gone, also after a restart, and their room is there for others."""
    backend = trial.start()
    trial.put(range(8))
    backend.delete([key(i) for i in (1, 3)])
    backend.settle()
    if trial.exists(range(5)) != [True, False, True, False, True] or trial.get([1, 3]) != [False, False]:
        fail("a deleted page is still there, or another went with it")
    trial.restart()
    if any(trial.get([1, 3])):
        fail("a deleted page is back after a restart")
    backend = trial.fresh()
    half = range(trial.subject.capacity_bytes // trial.subject.page_bytes // 2)
    held = 0
    for again in range(4):
        ids = [again * 10_000 + i for i in half]
        held = _put_all(trial, ids)
        if held < len(ids) * 3 // 4:
            fail(f"half the capacity, deleted {again} times before, held {held} of {len(ids)} pages")
        backend.delete([key(i) for i in ids])
        backend.settle()


def _put_all(trial: Trial, ids: list[int]) -> int:
    """Store pages in batches; how many are there then."""
    for at in range(0, len(ids), BATCH):
        trial.put(ids[at : at + BATCH])
    return sum(trial.get(ids))


def _fill(trial: Trial, first: int) -> list[int]:
    """Store FILL times the capacity, from page ``first`` on; the last batch."""
    n = FILL * trial.subject.capacity_bytes // trial.subject.page_bytes
    batch: list[int] = []
    for at in range(first, first + n, BATCH):
        batch = list(range(at, min(at + BATCH, first + n)))
        trial.put(batch)
    return batch


def _check_room(trial: Trial) -> None:
    """The directory is within the capacity."""
    taken, allowed = disk_bytes(trial.directory), trial.subject.capacity_bytes
    if taken > allowed * SLACK:
        fail(f"takes {taken / 2**20:.1f} MiB on disk with a capacity of {allowed / 2**20:.1f} MiB")
