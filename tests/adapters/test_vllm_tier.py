"""The vLLM tier on a disk in memory, driven as vLLM's tiering manager drives it; `make test-vllm` does it with the real one."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
import signal
import threading

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FailOp, FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.adapters.jobs import DroppedError, Jobs
from lsmkv_tensor.adapters.verdicts import Verdicts
from lsmkv_tensor.adapters.vllm_memory import FEW_CHUNKS, TierMemory
from lsmkv_tensor.adapters.vllm_tier import LsmkvTier
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import page_views
from tests.adapters.vllm import fakes
from tests.adapters.vllm.fakes import ReqContext as Request
from tests.adapters.vllm.fakes import offloading_spec as spec

CHUNK, CHUNKS = 5000, 24
SEGMENT, INDEX = 64 << 10, 512 << 10


def key(i, group=0):
    return hashlib.sha256(b"block %d" % i).digest() + group.to_bytes(4, "big")


def content(i):
    return np.random.default_rng(i).integers(0, 256, CHUNK, dtype=np.uint8)


class Machine:
    """A disk, and tiers on it with a primary tier's memory each."""

    def __init__(self, queue_bytes):
        self.queue_bytes = queue_bytes
        self.fs = FaultFileSystem(MemoryFileSystem())
        self.clock = ManualClock()
        self.tiers = []
        self.job = 0

    def start(self, config=None, **settings):
        memory = np.zeros((CHUNKS, CHUNK), np.uint8)
        fixed = {"path": "/kv", "max_bytes": INDEX + 8192 + 6 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX}
        fixed |= {"fs": self.fs, "clock": self.clock, "rng": seeded(1), "scheduler": ManualScheduler()}
        fixed |= {"io_timeout_s": None, "conflict_wait_s": 0.0, "put_queue_bytes": self.queue_bytes}
        tier = LsmkvTier(config or spec(), memoryview(memory), "LsmkvTier", None, **{**fixed, **settings})
        tier.memory = memory
        self.tiers.append(tier)
        return tier

    def transfer(self, tier, submit, ids, chunks, request=None):
        self.job += 1
        request = request if request is not None else Request("r")
        submit(fakes.TransferJob(self.job, [key(i) for i in ids], np.array(chunks), False, request))
        tier.drain_jobs()
        (result,) = tier.get_finished_jobs()
        assert result["job_id"] == self.job
        return result

    def written(self, tier):
        """What waited is written, and counted."""
        while tier.holding.store.step():
            pass
        assert not list(tier.get_finished_jobs())

    def store(self, tier, ids, request=None, *, wait=True):
        for chunk, i in enumerate(ids):
            tier.memory[chunk] = content(i)
        result = self.transfer(tier, tier.submit_store, ids, range(len(ids)), request)
        if wait and tier.holding.state == "own":
            self.written(tier)
        return result

    def load(self, tier, ids):
        tier.memory[:] = 0
        result = self.transfer(tier, tier.submit_load, ids, range(len(ids)))
        keys = [key(i) for i in ids] if result["success"] else list(result["successful_keys"] or ())
        for chunk, i in enumerate(ids):
            if key(i) in keys:
                assert np.array_equal(tier.memory[chunk], content(i))
        return result

    def look(self, tier, ids, request="r"):
        """The verdicts at the next step."""
        asked = Request(request)
        first = [tier.lookup(key(i), asked) for i in ids]
        tier.on_schedule_end()
        tier.drain_jobs()
        return first, [tier.lookup(key(i), asked) for i in ids]

    def close(self):
        self.fs.clear()
        for tier in self.tiers:
            tier.shutdown()


@pytest.fixture(params=[0, 1 << 20], ids=["at once", "queued"])
def machine(request):
    found = Machine(request.param)
    yield found
    found.close()


def test_chunks_are_stored_and_loaded_again_after_a_restart(machine):
    tier = machine.start()
    assert machine.store(tier, range(8)) | {"transfer_time": None} == {
        "job_id": 1,
        "success": True,
        "successful_keys": None,
        "transfer_time": None,
        "transfer_bytes": 8 * CHUNK,
    }
    tier.shutdown()
    tier = machine.start()
    assert machine.load(tier, range(8))["success"]
    assert not tier.has_pending_work()


def test_a_load_keeps_each_page_that_is_whole(machine):
    tier = machine.start()
    machine.store(tier, [0, 1, 3, 5])
    result = machine.load(tier, range(6))
    assert (result["success"], result["successful_keys"]) == (False, tuple(key(i) for i in (0, 1, 3, 5)))
    assert (tier.counts["loaded_pages"], tier.counts["missing_pages"]) == (4, 2)


def test_verdicts_come_a_step_later_and_a_failed_load_is_a_miss_while_its_request_lives(machine):
    tier = machine.start(known_pages=0)
    machine.store(tier, [0, 1])
    first, then = machine.look(tier, [0, 1, 2])
    assert (first, then) == (["RETRY"] * 3, ["HIT", "HIT", "MISS"])
    tier._view().writer.delete_many([key(1)])
    machine.load(tier, [0, 1])
    assert [tier.lookup(key(i), Request("r")) for i in range(2)] == ["HIT", "MISS"]
    tier.on_request_finished(Request("r"))
    assert len(tier._verdicts) == 0
    machine.store(tier, [1])
    assert machine.look(tier, [1], "another")[1] == ["HIT"]


def test_what_is_known_to_be_there_is_a_hit_at_once(machine):
    tier = machine.start()
    machine.store(tier, [0, 1])
    assert machine.look(tier, [0, 1, 2]) == (["HIT", "HIT", "RETRY"], ["HIT", "HIT", "MISS"])
    tier._view().writer.delete_many([key(1)])
    machine.load(tier, [0, 1])
    machine.store(tier, [1])
    assert machine.look(tier, [0, 1])[0] == ["HIT", "HIT"]
    tier._view().writer.delete_many([key(1)])
    tier.on_request_finished(Request("r"))
    assert machine.look(tier, [1], "another") == (["RETRY"], ["MISS"])


def test_a_failed_load_is_a_miss_for_its_request_whatever_is_known(machine):
    tier = machine.start()
    machine.store(tier, [0])
    assert machine.look(tier, [0])[0] == ["HIT"]
    machine.fs.add(FailOp("preadv"))
    machine.load(tier, [0])
    machine.fs.clear()
    assert machine.look(tier, [0])[0] == ["MISS"]
    tier.on_request_finished(Request("r"))
    assert machine.look(tier, [0], "another")[1] == ["HIT"]


def test_what_was_a_miss_and_is_stored_is_a_hit(machine):
    tier = machine.start()
    machine.look(tier, [4])
    machine.store(tier, [4])
    assert tier.lookup(key(4), Request("r")) == "HIT"


def test_parents_follow_the_requests_positions(machine):
    tier = machine.start()
    request = Request("r", {key(i): 16 * (i + 1) for i in range(4)})
    machine.store(tier, [2, 0, 3, 1], request)
    writer = tier._view().writer
    parents = writer.parents([key(i) for i in range(4)])
    assert [p is None for p in parents] == [True, False, False, False]
    assert machine.load(tier, [0, 1, 2, 3])["success"]


def test_groups_are_keys_of_their_own(machine):
    tier = machine.start()
    machine.store(tier, [0])
    assert list(tier._view().reader.contains([key(0), key(0, group=1)])) == [True, False]


@pytest.mark.parametrize(
    ("other", "found"), [(spec("n"), False), (spec(rank=1), False), (spec(portable=True), False), (spec(), True)]
)
def test_only_the_same_bytes_are_shared(machine, other, found):
    tier = machine.start()
    machine.store(tier, [0])
    assert machine.load(machine.start(other, on_conflict="fresh"), [0])["success"] is found


def test_a_failing_disk_fails_jobs_and_nothing_else(machine):
    tier = machine.start(breaker_failures=0)
    machine.fs.add(FailOp("pwritev", path="*.seg"))
    assert machine.store(tier, [0, 1])["success"] is (machine.queue_bytes > 0)
    assert (tier.counts["stored_pages"], tier.counts["failed_pages"]) == (0, 2)
    machine.fs.clear()
    tier = machine.start(on_conflict="fresh")
    machine.store(tier, [0])
    machine.fs.add(FailOp("preadv"))
    machine.fs.add(FailOp("pread"))
    assert not machine.load(tier, [0])["success"]


def test_what_admission_does_not_want_is_no_failure(machine):
    tier = machine.start(admission="second")
    assert machine.store(tier, [0, 1])["success"]
    assert (tier.counts["declined_pages"], tier.counts["failed_pages"]) == (2, 0)


def test_a_second_engine_follows_and_stores_nothing(machine):
    first, second = machine.start(), machine.start()
    machine.store(first, [0])
    assert second.holding.state == "following"
    assert machine.load(second, [0])["success"]
    assert not machine.store(second, [1])["success"]
    assert second.counts["declined_pages"] == 1
    first.shutdown()
    machine.clock.advance(2)
    assert machine.store(second, [1])["success"]


def test_settings_are_named_when_they_are_wrong(machine):
    with pytest.raises(InvalidArgumentError, match="no setting 'capacity'"):
        machine.start(capacity=5)
    for given, missing in (({}, "path"), ({"path": "/kv2"}, "max_bytes"), ({"max_bytes": 1 << 20}, "path")):
        with pytest.raises(InvalidArgumentError, match=rf'^LsmkvTier: {missing} is missing: add "path": .*"max_bytes": '):
            LsmkvTier(spec(), memoryview(bytearray(8)), "t", **given)
    with pytest.raises(InvalidArgumentError, match="two dimensions"):
        LsmkvTier(spec(), memoryview(bytearray(8)), "t", path="/kv2", max_bytes=1 << 20)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": 0},
        {"threads": "2"},
        {"max_store_pages": 0},
        {"max_bytes": "1TB"},
        {"conflict_wait_s": "soon"},
        {"shutdown_s": -1},
        {"revision": 5},
        {"locality": "NEAR"},
        {"locality": ["LOCAL"]},
    ],
)
def test_values_that_cannot_be_meant_end_the_start(machine, wrong):
    """A tier without threads had waited for ever when vLLM drained it; a text for a number raised into its scheduler."""
    with pytest.raises(InvalidArgumentError, match=rf"LsmkvTier: {next(iter(wrong))} = "):
        machine.start(**wrong)


def test_a_size_may_be_written_with_an_exponent(machine):
    """JSON makes a float of 1e12."""
    capacity = float(INDEX + 8192 + 6 * SEGMENT)
    assert machine.start(max_bytes=capacity, segment_bytes=float(SEGMENT)).holding.store.stats().capacity_bytes == capacity


def test_touching_is_heard_by_retention(machine):
    tier = machine.start()
    machine.store(tier, [0, 1])
    tier.touch([key(0), key(1)], Request("r"))
    tier.drain_jobs()
    assert list(tier.get_finished_jobs()) == []


def test_the_tier_has_the_signatures_of_the_stand_ins():
    for name, function in inspect.getmembers(fakes.SecondaryTierManager, inspect.isfunction):
        ours, theirs = (list(inspect.signature(f).parameters) for f in (getattr(LsmkvTier, name), function))
        assert ours[: len(theirs)] == theirs, name
        assert ours == theirs or name == "__init__", name


def test_a_shutdown_does_not_outlast_its_time_and_tells_what_it_dropped(machine):
    """vLLM kills its engine 5 s after it asked it to end: thousands of chunks that waited to be stored had no chance anyway."""
    tier = machine.start(threads=1, shutdown_s=0.0)
    tier.memory[:4] = [content(i) for i in range(4)]
    began, go = threading.Event(), threading.Event()
    tier._jobs.submit("load", 1, lambda: (began.set(), go.wait(60), ("asked", ([], [])))[-1], lambda _: ("asked", ([], [])))
    assert began.wait(60)
    for job, ids in ((1, [0, 1]), (2, [2, 3])):
        tier.submit_store(fakes.TransferJob(job, [key(i) for i in ids], np.array(ids), False, Request("r")))
    go_on = threading.Timer(0.05, go.set)
    go_on.start()
    tier.shutdown()
    assert tier.counts["dropped_pages"] == 4
    assert [result["success"] for result in tier.get_finished_jobs()] == [False, False]
    assert tier.holding.state == "closed"


# their parts


def test_jobs_refuse_stores_beyond_what_may_wait_and_never_a_first():
    jobs = Jobs("lsmkv-test", threads=1, max_store_pages=10)
    done = []
    assert jobs.submit("store", 100, lambda: done.append("large"), lambda _: None)
    jobs.wait_idle()
    assert done == ["large"]
    with jobs._changed:  # nobody takes one while this is held
        jobs._threads, jobs._idle = 1, 0
    assert jobs.submit("store", 6, lambda: 1, lambda _: 0)
    assert not jobs.submit("store", 6, lambda: 1, lambda _: 0)
    assert jobs.submit("load", 600, lambda: 2, lambda _: 0)
    with jobs._changed:
        jobs._threads, jobs._idle = 1, 1
        jobs._changed.notify_all()
    jobs.stop()
    assert sorted(r for r in jobs.finished() if r is not None) == [1, 2]
    assert not jobs.submit("load", 1, lambda: 3, lambda _: 0)


def test_a_job_that_raises_is_told():
    jobs = Jobs("lsmkv-test")
    jobs.submit("load", 1, lambda: 1 / 0, lambda error: type(error).__name__)
    jobs.wait_idle()
    assert jobs.finished() == ["ZeroDivisionError"]
    jobs.stop()


def test_the_end_is_bounded_drops_what_waits_and_does_not_wait_for_what_hangs():
    jobs = Jobs("lsmkv-test", threads=1)
    began, go = threading.Event(), threading.Event()
    jobs.submit("load", 1, lambda: (began.set(), go.wait(60), "done")[-1], lambda _: "failed")
    assert began.wait(60)
    for pages in (3, 4):
        jobs.submit("store", pages, lambda: "stored", type)
    assert jobs.stop(0.0) == (7, False)
    assert jobs.finished() == [DroppedError, DroppedError]
    go.set()
    assert jobs.stop() == (0, True)
    assert jobs.finished() == ["done"]


def unknown():
    """Nothing is known without asking."""
    return False


def test_verdicts_of_keys_nobody_wants_any_more_are_forgotten_when_they_come():
    verdicts = Verdicts()
    assert verdicts.look(b"k", "r", unknown) is None
    assert verdicts.take() == [b"k"]
    verdicts.finished("r")
    assert verdicts.look(b"k", "s", unknown) is None
    assert verdicts.take() == []
    verdicts.learn([b"k"], [True])
    assert verdicts.look(b"k", "s", unknown) is True
    verdicts.finished("s")
    assert len(verdicts) == 0


def test_what_a_failed_load_leaves_behind_ends_with_its_requests():
    verdicts = Verdicts()
    verdicts.look(b"k", "r", unknown)
    verdicts.finished("r")
    verdicts.miss([b"k"])
    verdicts.learn([b"k"], [True])
    assert len(verdicts) == 0


def test_what_was_stored_while_it_was_asked_for_is_there():
    verdicts = Verdicts()
    verdicts.look(b"k", "r", unknown)
    verdicts.take()
    verdicts.stored([b"k"])
    verdicts.learn([b"k"], [False])
    assert verdicts.look(b"k", "r", unknown) is True


def test_two_jobs_at_once_have_a_thread_each_though_one_was_idle():
    jobs = Jobs("lsmkv-test", threads=2)
    jobs.submit("load", 1, lambda: 0, lambda _: 0)
    jobs.wait_idle()
    met = threading.Barrier(2)
    with jobs._changed:  # the idle thread does not wake in between
        for _ in range(2):
            jobs.submit("load", 1, lambda: met.wait(60), lambda _: "alone")
    jobs.wait_idle()
    jobs.stop()
    assert "alone" not in jobs.finished()


def test_only_a_tiers_own_chunks_are_read_and_written(machine):
    tier = machine.start()
    for chunk in (CHUNKS, -1):
        assert not machine.transfer(tier, tier.submit_store, [0], [chunk])["success"]
    machine.store(tier, [0])
    assert not machine.transfer(tier, tier.submit_load, [0], [CHUNKS])["success"]


@pytest.mark.parametrize("count", [1, FEW_CHUNKS, FEW_CHUNKS + 1])
def test_a_chunks_memory_is_its_own_whatever_its_elements_are(count):
    memory = np.zeros((8, 5), np.int16)
    tier, chunks = TierMemory(memoryview(memory[:, :3])), list(range(7, 7 - count, -1))
    for (view,), chunk in zip(page_views(tier.spans(chunks), count, 6, writable=True), chunks, strict=True):
        view[:] = bytes([chunk + 1]) * 6
    wanted = np.array([[(i + 1) * 257 if i in chunks else 0] * 3 + [0, 0] for i in range(8)], np.int16)
    assert np.array_equal(memory, wanted)
    with pytest.raises(InvalidArgumentError, match="chunks 8 to 8"):
        tier.spans([8])


def test_what_lies_between_two_chunks_is_left_alone(machine):
    wide = np.full((CHUNKS, CHUNK + 8), 7, np.uint8)
    tier = LsmkvTier(
        spec(), memoryview(wide[:, :CHUNK]), "t", path="/w", max_bytes=INDEX + 8192 + 6 * SEGMENT, segment_bytes=SEGMENT,
        index_bytes=INDEX, fs=machine.fs, clock=machine.clock, scheduler=ManualScheduler(), io_timeout_s=None,
    )  # fmt: skip
    tier.memory = wide[:, :CHUNK]
    machine.tiers.append(tier)
    machine.store(tier, range(CHUNKS // 4))
    assert machine.load(tier, range(CHUNKS // 4))["success"]
    assert (wide[:, CHUNK:] == 7).all()


def test_an_engine_that_does_not_start_holds_no_directory(machine):
    settings = {"max_bytes": INDEX + 8192 + 6 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX, "fs": machine.fs}
    with pytest.raises(InvalidArgumentError, match="page_bytes"):
        LsmkvTier(spec(), memoryview(np.zeros((2, SEGMENT), np.uint8)), "t", path="/kv", **settings)
    assert machine.start().holding.state == "own"


def test_a_machine_without_further_threads_refuses_jobs_and_ends():
    jobs = Jobs("lsmkv-test")
    ordinary = threading.stack_size(1 << 46)  # no machine gives a thread that much
    try:
        assert not jobs.submit("load", 1, lambda: 1, lambda _: 0)
    finally:
        threading.stack_size(ordinary)
    jobs.wait_idle()
    assert jobs.submit("load", 1, lambda: 1, lambda _: 0)
    jobs.stop()
    assert jobs.finished() == [1]


def test_chunks_of_which_some_found_room_at_once_are_counted_once():
    machine = Machine(4 * CHUNK)
    tier = machine.start(io_timeout_s=5.0)
    assert machine.store(tier, range(6))["success"]
    assert machine.store(tier, range(6, 12))["success"]
    assert (tier.counts["stored_pages"], tier.counts["failed_pages"]) == (12, 0)
    machine.close()


def test_chunks_that_overlap_or_run_backwards_are_refused():
    pool = np.zeros((4, CHUNK), np.uint8)
    overlapping = np.lib.stride_tricks.as_strided(pool, (4, CHUNK), (CHUNK - 1, 1))
    for wrong in (overlapping, pool[::-1], pool[:, ::-1], pool[:, ::2]):
        with pytest.raises(InvalidArgumentError, match="whole chunks"):
            TierMemory(memoryview(wrong))


@pytest.mark.parametrize("leave", [SystemExit, asyncio.CancelledError])
def test_a_job_that_leaves_its_thread_has_failed(leave):
    """The thread was gone without a word, and whoever waited for its job waited for ever."""
    jobs = Jobs("lsmkv-test", threads=1)

    def work():
        raise leave

    assert jobs.submit("load", 1, work, lambda error: f"failed: {error}")
    assert jobs.submit("load", 1, lambda: "done", lambda error: "failed")
    assert jobs.stop(within_s=9).ended
    assert jobs.finished() == [f"failed: the job left with {leave()!r}", "done"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_jobs_in_a_forked_child_are_over():
    """Its threads are the parent's: a child that waited for them would wait for ever."""
    jobs = Jobs("lsmkv-test", threads=1)
    hold = threading.Event()
    assert jobs.submit("load", 1, hold.wait, lambda error: error)
    assert jobs.submit("load", 1, lambda: True, lambda error: error)
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        ok = not jobs.submit("load", 1, lambda: True, lambda error: error) and not jobs.pending
        jobs.wait_idle()
        os._exit(0 if ok and jobs.stop() == (0, True) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    hold.set()
    jobs.wait_idle()
    assert jobs.finished() == [True, True]
    assert jobs.stop().ended
