"""What the store owes, and paying it: pending work as tasks, one step at a time, by hand or by background workers.

Two workers, so that a long compaction never keeps a full memtable waiting: one flushes, one compacts. Each has its own
lock; edits meet only in the install lock. After a failure (a full disk, say) a worker retries with growing pauses; the
failed outputs are gone, the tree is as before, and a stalled writer learns the reason.

A worker that finds nothing to do goes to sleep until somebody writes, and no longer than until time makes something due: a
deletion that grows too old, data that outlives its TTL. What only a snapshot holds back is due when that is released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from lsmkv.base.keys import MAX_SEQ
from lsmkv.env.scheduling import Scheduler, Worker
from lsmkv.env.sync import Lock, current_thread_id
from lsmkv.errors import BusyError, ClosedError, LsmError, PoisonedError
from lsmkv.live.core import Core
from lsmkv.maintain.compact import run_task
from lsmkv.maintain.flush import flush_oldest
from lsmkv.maintain.install import collect, install, remove_logs_below
from lsmkv.maintain.load import GAP, LoadReport, build, install_load, needs_way, report_of, withdrawn_on_failure
from lsmkv.maintain.look import due_task, next_due_s, released, seen_shape
from lsmkv.maintain.settings import change
from lsmkv.maintain.steering import LOOK_S, Steering
from lsmkv.maintain.switching import switch
from lsmkv.options import Options
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.loading import make_way
from lsmkv.policy.ranges import manual_task
from lsmkv.policy.sweep import hidden_tables, sweep
from lsmkv.policy.transition import Pace, TransitionReport
from lsmkv.version.edit import VersionEdit
from lsmkv.version.shape import TreeShape
from lsmkv.write.commit import Committer
from lsmkv.write.stall import StallGate

__all__ = ["Upkeep"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
"""Pauses of a worker after failures: doubling from the first to the longest."""

LONGEST_SLEEP_S = 600.0
"""A worker that waits for a time looks again after so long at the latest: somebody may have set the wall clock."""

SHORTEST_SLEEP_S = 0.01
"""What is due and could not be done (a writer holds the lock), or is not quite due yet, is looked at again after this."""

SNAPSHOT_LOOK_S = 10.0
"""How often a worker that waits for a snapshot looks whether the garbage collector has dropped it unreleased."""

PATIENCE_S = 0.05
"""How long a load waits for a writer to be done before it lets compactions go on, and how long for these."""

_WORKERS = ("flush", "compact")
"""The order in which they are started, and kept."""


class Upkeep:
    """Finds and runs flushes and compactions."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._committer: Committer | None = None
        self._gate: StallGate | None = None
        self._flush_lock = Lock()
        self._compact_lock = Lock()
        self._load_lock = Lock()
        self._workers: list[Worker] = []
        self._timers: list[Worker] = []
        self._pauses = {"flush": 0.0, "compact": 0.0}
        self._threads: set[int] = set()
        self.last_error: LsmError | None = None
        self.steering = Steering(core)

    def attach(self, committer: Committer, gate: StallGate) -> None:
        """Meet the write path."""
        self._committer = committer
        self._gate = gate

    def start(self, scheduler: Scheduler) -> None:
        """Let a scheduler run the work (a manual one only keeps it)."""
        self._core.throttle.serving = True
        if not scheduler.manual:
            self._core.helping.allow("lsmkv.maintain.helper")
        for kind in _WORKERS:
            self._workers.append(scheduler.start(f"lsmkv-{kind}", partial(self._background, kind)))
        self.wake()

    def every(self, interval_s: float, scheduler: Scheduler, name: str, action: Callable[[], None]) -> None:
        """Have a worker call ``action`` every so many seconds; :meth:`stop` ends that, too (a manual scheduler never calls)."""

        def step() -> bool:
            """Call, and ask to be woken again."""
            if not self._core.stopping:
                self._threads.add(current_thread_id())
                try:
                    action()
                except Exception as error:  # noqa: BLE001 - a look that failed must not end all later ones
                    self._core.work.failures += 1
                    self.last_error = LsmError(f"{name} failed: {error!r}")
                worker.wake(interval_s)
            return False

        worker = scheduler.start(name, step)
        self._timers.append(worker)
        worker.wake(interval_s)

    def wake(self) -> None:
        """Tell the workers that there may be something to do."""
        for worker in self._workers:
            worker.wake()

    def stop(self) -> None:
        """Run nothing further; a compaction in flight gives up at its next slice."""
        self._core.stopping = True
        for worker in (*self._workers, *self._timers):
            worker.stop()
        self._workers, self._timers = [], []
        self._core.helping.end()

    def finish(self) -> None:
        """After :meth:`stop`: flush what is left and record what was counted. I/O: a table if need be, one manifest edit."""
        core = self._core
        core.stopping, core.closing = False, True
        edits = core.ledger.manifest.tasks
        while self.flush_one():
            pass
        if core.ledger.manifest.tasks == edits:
            with core.install_lock:
                install(core, VersionEdit())
        self.tidy()
        core.note("close", {})

    def pending(self) -> Task | None:
        """The next unit of work: a flush (a task without inputs) before a compaction, None when settled."""
        shape = seen_shape(self._core)
        due = self._due_flush() or self._overdue_flush() or due_task(self._core.policy, shape)
        return due or self.steering.peek(shape)

    def _due_flush(self) -> Task | None:
        """The flush that is due, if any."""
        state = self._core.box.current
        if state is None or not state.imms:
            return None
        mem = state.imms[-1].mem
        return Task((), 0, None, f"flush a memtable of {mem.entries} entries, {mem.bytes} bytes")

    def _overdue_flush(self) -> Task | None:
        """The flush of a memtable that is not full but holds an old deletion, if that is due."""
        left = self._committer.deletion_due() if self._committer is not None else None
        if left is None or left > 0:
            return None
        return Task((), 0, None, "flush a memtable: a deletion in it is half as old as it may get")

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
        """Flush the oldest full memtable, if any waits; one that is not full counts when a deletion in it is old."""
        with self._flush_lock:
            if self._committer is not None:
                self._committer.rotate_if_overdue()
            task = self._due_flush()
            if task is None:
                return None
            floor = flush_oldest(self._core)
        if floor is not None and self._committer is not None:
            self._committer.forget_logs_below(floor)
            remove_logs_below(self._core, floor)
        self._installed()
        return task

    def flush_all(self) -> None:
        """Put everything written before this call into tables; others write on meanwhile."""
        committer, box = self._committer, self._core.box
        assert committer is not None
        with committer.lock:
            last = committer.wal.number
            committer.rotate()
        while (state := box.current) is not None and any(imm.wal_number <= last for imm in state.imms):
            self.flush_one()
        if state is None:
            raise ClosedError(self._core.path)

    def clear_ranges(self) -> bool:
        """Do one piece of the work that lets a range delete retire; whether there was any that can be done now."""
        with self._compact_lock:
            shape = seen_shape(self._core)
            task = hidden_tables(shape) or sweep(shape)
            done = task is not None and run_task(self._core, task)
        if done:
            self._installed()
        return done

    def compact_one(self) -> Task | None:
        """Run the task that is due, if any."""
        with self._compact_lock:
            self.steering.look()
            shape = seen_shape(self._core)
            task = due_task(self._core.policy, shape) or self.steering.wanted(shape)
            if task is None:
                self._sleep(shape)
                return None
            with self.steering.watching(task):
                done = run_task(self._core, task)
            if not done:
                self._refused()
                return None
        self._installed()
        return task

    def _refused(self) -> None:
        """A snapshot came between the look and the drop: look again when it is released, soon if it already is."""
        shape = seen_shape(self._core)
        self._sleep(shape)
        if shape.snapshot_floor == MAX_SEQ:
            self._wake("compact", SHORTEST_SLEEP_S)

    def _sleep(self, shape: TreeShape) -> None:
        """Nothing is due in ``shape``: have the worker woken when time or the release of a snapshot may change that."""
        workers = self._workers
        if not workers:
            return
        worker = workers[_WORKERS.index("compact")]
        if self.steering.active:
            worker.wake(LOOK_S)
        if (left := self._core.helping.rest(self._core.clock.monotonic())) is not None:
            worker.wake(left)
        due = next_due_s(self._core.policy, shape)
        if due is not None:
            worker.wake(min(max(due - shape.now_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
        if shape.snapshot_floor < MAX_SEQ and due_task(self._core.policy, released(shape)) is not None:
            self._core.snapshots.watch(shape.snapshot_floor, worker.wake)
            worker.wake(SNAPSHOT_LOOK_S)

    def compact_range(self, start: bytes | None, stop: bytes | None) -> None:
        """Merge everything that overlaps [start, stop) into one run."""
        with self._compact_lock:
            task = manual_task(seen_shape(self._core), start, stop)
            if task is not None:
                run_task(self._core, task, by_hand=True)
        self._installed()

    def set_policy(self, policy: Policy, pace: Pace) -> TransitionReport:
        """Change the policy once the compaction in flight is done; see :func:`lsmkv.maintain.switching.switch`."""
        with self._compact_lock:
            if self._core.stopping:
                raise ClosedError(self._core.path)
            report = switch(self._core, policy, pace)
        self._installed()
        return report

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No write commits and no compaction runs inside. Waits for the compaction in flight.

        A writer that is stalled holds the commit lock while it waits for a compaction: then that comes first.
        """
        committer, gate = self._committer, self._gate
        assert committer is not None
        assert gate is not None
        while True:
            with self._compact_lock:
                if self._core.stopping:
                    raise ClosedError(self._core.path)
                if committer.lock.acquire(timeout=PATIENCE_S):
                    try:
                        yield
                    finally:
                        committer.lock.release()
                    return
            with gate.changed:
                gate.changed.wait(PATIENCE_S)

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> LoadReport:
        """Load sorted pairs; see :mod:`lsmkv.maintain.load`."""
        core, committer = self._core, self._committer
        assert committer is not None
        if not self._load_lock.acquire(blocking=False):
            raise BusyError("another load into this store is going on: one at a time")
        try:
            tables = build(core, pairs, committer.last_seq + 1 + GAP)
            if not tables:
                return report_of(tables, None)
            with withdrawn_on_failure(core, tables):
                self.flush_all()  # most of what is in memory, while others write on
                with self._compact_lock:
                    if needs_way(core, tables):
                        run_task(core, make_way(seen_shape(core)))
                with self.alone():
                    level = install_load(core, committer, tables, self._flush_quickly)
        finally:
            self._load_lock.release()
        self._installed()
        return report_of(tables, level)

    def _flush_quickly(self) -> None:
        """Put everything in memory into tables (commit lock held: writers wait, so it does not wait for the limit)."""
        core, committer = self._core, self._committer
        assert committer is not None
        core.hurried += 1
        try:
            committer.rotate()
            while self.flush_one() is not None:
                pass
        finally:
            core.hurried -= 1

    def set_options(self, changes: Mapping[str, object]) -> Options:
        """Change what may change while the store is open; see :func:`lsmkv.maintain.settings.change`."""
        options = change(self._core, self._committer, changes)
        if self._gate is not None:
            self._gate.progress()
        self.wake()
        return options

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
            self._tell(kind, error)
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

    def _tell(self, kind: str, error: LsmError) -> None:
        """Let stalled writers know why nothing will move."""
        if self._gate is not None:
            self._gate.failed(kind, error)

    def _failed(self, kind: str, error: LsmError) -> None:
        """Remember a failure, remove what it left, tell stalled writers, try again after a pause."""
        self._core.work.failures += 1
        self.last_error = error
        collect(self._core)
        self._tell(kind, error)
        pause = min(max(FIRST_PAUSE_S, 2 * self._pauses[kind]), LONGEST_PAUSE_S)
        self._pauses[kind] = pause
        self._wake(kind, pause)

    def _wake(self, kind: str, after_s: float) -> None:
        """Have one worker look again later; nobody if they are stopped, which another thread may do at any moment."""
        workers = self._workers
        if workers:
            workers[_WORKERS.index(kind)].wake(after_s)

    def _sync_if_due(self) -> None:
        """The flush worker also keeps the promises about unsynced writes (mode "interval") and old deletions, each in time."""
        if self._committer is None or not self._workers:
            return
        for left in (self._committer.sync_due(), self._committer.deletion_due()):
            if left is not None:
                self._wake("flush", min(max(left, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
