"""What the store owes, and paying it: pending work as tasks, one step at a time, by hand or by background workers.

Two workers, so that a long compaction never keeps a full memtable waiting: one flushes, one compacts. Each has its own
lock; edits meet only in the install lock. After a failure (a full disk, say) a worker retries with growing pauses; the
failed outputs are gone, the tree is as before, and a stalled writer learns the reason.
"""

from __future__ import annotations

from lsmkv.env.scheduling import Scheduler, Worker
from lsmkv.env.sync import Lock, current_thread_id
from lsmkv.errors import ClosedError, LsmError, PoisonedError
from lsmkv.live.core import Core
from lsmkv.maintain.compact import manual_task, run_task
from lsmkv.maintain.flush import flush_oldest
from lsmkv.maintain.install import collect, remove_logs_below
from lsmkv.policy.base import Task
from lsmkv.write.commit import Committer
from lsmkv.write.stall import StallGate

__all__ = ["Upkeep"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
"""Pauses of a worker after failures: doubling from the first to the longest."""


class Upkeep:
    """Finds and runs flushes and compactions."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._committer: Committer | None = None
        self._gate: StallGate | None = None
        self._flush_lock = Lock()
        self._compact_lock = Lock()
        self._workers: list[Worker] = []
        self._pauses = {"flush": 0.0, "compact": 0.0}
        self._threads: set[int] = set()
        self.last_error: LsmError | None = None

    def attach(self, committer: Committer, gate: StallGate) -> None:
        """Meet the write path."""
        self._committer = committer
        self._gate = gate

    def start(self, scheduler: Scheduler) -> None:
        """Let a scheduler run the work (a manual one only keeps it)."""
        self._workers.append(scheduler.start("lsmkv-flush", lambda: self._background("flush")))
        self._workers.append(scheduler.start("lsmkv-compact", lambda: self._background("compact")))
        self.wake()

    def wake(self) -> None:
        """Tell the workers that there may be something to do."""
        for worker in self._workers:
            worker.wake()

    def stop(self) -> None:
        """Run nothing further; a compaction in flight gives up at its next slice."""
        self._core.stopping = True
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def resume(self) -> None:
        """Allow work by hand again after :meth:`stop` (closing flushes once more)."""
        self._core.stopping = False

    def pending(self) -> Task | None:
        """The next unit of work: a flush (a task without inputs) before a compaction, None when settled."""
        return self._due_flush() or self._core.policy.pick(self._core.state.shape)

    def _due_flush(self) -> Task | None:
        """The flush that is due, if any."""
        state = self._core.box.current
        if state is None or not state.imms:
            return None
        mem = state.imms[-1].mem
        return Task((), 0, None, f"flush a memtable of {mem.entries} entries, {mem.bytes} bytes")

    def step(self) -> Task | None:
        """Do one unit of pending work; what it was. Waits for work of the same kind in flight."""
        task = self.flush_one() or self.compact_one()
        if task is None:
            self.tidy()
        return task

    def tidy(self) -> None:
        """Unlink what only scans that have ended still held."""
        collect(self._core)

    def flush_one(self) -> Task | None:
        """Flush the oldest full memtable, if any waits."""
        with self._flush_lock:
            task = self._due_flush()
            if task is None:
                return None
            floor = flush_oldest(self._core)
        if floor is not None and self._committer is not None:
            self._committer.forget_logs_below(floor)
            remove_logs_below(self._core, floor)
        self._installed()
        return task

    def compact_one(self) -> Task | None:
        """Run the task the policy picks, if any."""
        with self._compact_lock:
            task = self._core.policy.pick(self._core.state.shape)
            if task is None:
                return None
            run_task(self._core, task)
        self._installed()
        return task

    def compact_range(self, start: bytes | None, stop: bytes | None) -> None:
        """Merge everything that overlaps [start, stop) into one run."""
        with self._compact_lock:
            task = manual_task(self._core.state.shape, start, stop)
            if task is not None:
                run_task(self._core, task, counted=False)
        self._installed()

    def _installed(self) -> None:
        """After an edit: unlink what died, wake who waits and who may have new work."""
        collect(self._core)
        if self._gate is not None:
            self._gate.progress()
        self.wake()

    def _background(self, kind: str) -> bool:
        """One step of a worker; whether to go on at once."""
        if self._core.stopping:
            return False
        self._threads.add(current_thread_id())
        try:
            self._core.check_poison()
            if kind == "flush":
                self._sync_if_due()
                done = self.flush_one()
            else:
                done = self.compact_one()
        except ClosedError:  # asked to stop
            return False
        except PoisonedError as error:
            self.last_error = error
            self._tell(error)
            return False
        except LsmError as error:
            self._failed(kind, error)
            return False
        except Exception as error:  # noqa: BLE001 - a policy's bug, say: the worker must live to tell, and to try again
            failure = LsmError(f"{kind} failed: {error!r}")
            failure.__cause__ = error
            self._failed(kind, failure)
            return False
        self._pauses[kind] = 0.0
        return done is not None

    @property
    def inside(self) -> bool:
        """Whether the calling thread is one of the workers."""
        return current_thread_id() in self._threads

    def _tell(self, error: LsmError) -> None:
        """Let stalled writers know why nothing will move."""
        if self._gate is not None:
            self._gate.failed(error)

    def _failed(self, kind: str, error: LsmError) -> None:
        """Remember a failure, tell stalled writers, try again after a pause."""
        self._core.work.failures += 1
        self.last_error = error
        self._tell(error)
        pause = min(max(FIRST_PAUSE_S, 2 * self._pauses[kind]), LONGEST_PAUSE_S)
        self._pauses[kind] = pause
        if self._workers:
            self._workers[0 if kind == "flush" else 1].wake(pause)

    def _sync_if_due(self) -> None:
        """In mode "interval" the flush worker also keeps the promise about unsynced writes."""
        if self._committer is None or not self._workers:
            return
        left = self._committer.sync_due()
        if left is not None:
            self._workers[0].wake(left)
