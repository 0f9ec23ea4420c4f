"""What a store stands on: everything that is built on an open index, once at opening and again after a failure.

A poisoned store is closed and opened in place (:meth:`Standing._recover`): its views, counters, quotas and memories go on, and
what it stands on is made anew.
"""

from __future__ import annotations

from functools import partial
from posixpath import join
from weakref import WeakSet

from lsmkv import DB
from lsmkv.controller.journal import new_journal
from lsmkv_tensor.errors import BusyError, LsmError, PoisonedError
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.opening import Parts, close_parts, open_parts
from lsmkv_tensor.registry import Registry
from lsmkv_tensor.retention import keepsake
from lsmkv_tensor.retention.gatekeeper import Gatekeeper
from lsmkv_tensor.retention.keeper import Keeper
from lsmkv_tensor.retention.known import KnownPages
from lsmkv_tensor.retention.names import load_eviction
from lsmkv_tensor.retention.notify import Notifier
from lsmkv_tensor.retention.protocol import Admission
from lsmkv_tensor.retention.quota import Quota
from lsmkv_tensor.retention.steering import Done, Steering, decided, steered_admission
from lsmkv_tensor.retention.terms import Terms
from lsmkv_tensor.runtime import StoreGate, try_disk
from lsmkv_tensor.services import Services
from lsmkv_tensor.upkeep import Upkeep
from lsmkv_tensor.vlog.ahead import OpenAhead
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.gc import Collector
from lsmkv_tensor.vlog.liveness import Liveness
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import PageReader
from lsmkv_tensor.vlog.share import IndexShare
from lsmkv_tensor.vlog.space import Space
from lsmkv_tensor.vlog.writer import FrameWriter

__all__ = ["Standing"]

PAUSE_S = 1.0
"""Real seconds that reopening waits for the calls inside to leave; after that they go on, and it is tried later."""
JOURNAL_BYTES, JOURNAL_SHARE = 64 << 10, 128
"""Length of half the controller's journal, at most, and as a part of the index's share: it lies among the index's files."""
KEEPSAKE_SLACK_BYTES = 16 << 10
"""Bytes that closing the index may write after the ranks were kept, and the file's own header."""


class Standing:
    """The part of :class:`lsmkv_tensor.pages.PageStore` that is made anew when the store reopens itself."""

    path: str
    _services: Services
    _gate: StoreGate
    _notifier: Notifier
    _views: WeakSet[Namespace]
    _upkeep: Upkeep
    _failed_syncs: dict[int, int]
    """Segments of which a sync failed (:attr:`Space.failed_syncs`): what an index that takes no writes must not forget."""
    _parts: Parts
    _db: DB
    _files: SegmentFiles
    _quota: Quota
    _share: IndexShare
    _writer: FrameWriter
    _terms: Terms
    _keeper: Keeper
    _space: Space
    _log: ValueLog
    _reader: PageReader
    _collector: Collector
    _registry: Registry
    _steering: Steering | None

    def _build(self, parts: Parts, earlier: Keeper | None = None) -> None:
        """Everything that stands on an open index; again after it was reopened, where ``earlier`` kept the pages before."""
        services = self._services
        self._parts = parts
        db, files, quota, stamp, fs = parts.db, parts.files, parts.quota, parts.stamp, parts.fs
        self._db, self._files = db, files
        share = IndexShare(fs, join(self.path, "index"), db, quota.index_bytes)
        liveness = Liveness(db, share)
        liveness.load(db.path)
        self._quota = quota
        self._share = share
        self._writer = FrameWriter(files, stamp.store_id)
        if services.crew.size > 1:
            self._writer.beside = services.crew.run
        policy = load_eviction(services.options.eviction)(quota.page_bytes)
        self._terms = Terms(db, services.clock, services.options.idle_after_s)
        self._keeper = Keeper(db, policy, quota.page_bytes // 2, self._terms.idle)
        self._keeper.known = KnownPages(services.options.known_pages)
        touches = self._keeper.touches
        touches.before_noting, touches.before_taking = services.quick.settle_own, services.quick.settle
        if earlier is not None:
            self._keeper.take_over(earlier)
        else:
            self._keeper.remembered = keepsake.take(fs, self.path, services.options.eviction)
        floor = services.options.min_free_bytes
        self._space = Space(
            db, files, self._writer, liveness, quota, stamp.store_id, self._keeper, floor, self._failed_syncs
        )  # fmt: skip
        self._log = ValueLog(db, self._space, liveness, self._writer, self._keeper, self._terms)
        self._log.counters.lost = self._space.load()
        self._log.side_by_side = services.crew.run
        breakers = services.disk_breakers if len(files.disks.homes) > 1 and services.breaker.enabled else None
        self._reader = PageReader(self._log, files, services.crew, services.queues, breakers)
        self._collector = Collector(self._log, files)
        self._log.make_room = self._collector.make_room
        self._log.on_corrupt = lambda key: services.waterfall.fates.note([key], "corrupt")
        chosen = steered_admission(services.options.admission, services.options.controller)
        admission = chosen(quota.page_bytes, services.options.write_bytes_per_day)
        self._log.gatekeeper = Gatekeeper(admission, services.clock, partial(self._log.seen, quota.page_bytes))
        self._steer(admission)
        self._registry = Registry(self._log, db.path)
        self._collector.rescue()
        self._upkeep.serve(self._log, self._collector, OpenAhead(self._log, files))

    def _steer(self, admission: Admission) -> None:
        """Have the controller, if there is one, steer what was built. I/O: reads its journal, if it is new."""
        options, fs = self._services.options, self._parts.fs
        if options.controller is None or options.controller.mode == "off":
            return
        if self._steering is None:
            limit = min(JOURNAL_BYTES, self._quota.index_bytes // JOURNAL_SHARE)
            self._steering = Steering(
                options.controller,
                options.admission,
                self._quota.page_bytes,
                load_eviction(options.eviction),
                new_journal(fs, self._db.path, self._services.clock, limit),
                decided(fs, self._db.path),
            )
        steering, keeper, log = self._steering, self._keeper, self._log
        collector = self._collector
        steering.serve(
            admission,
            lambda: Done(log.counters.read_bytes, log.writer.bytes_written, log.counters.gc_moved_bytes),
            collector.bound_moves,
        )
        collector.on_moved = lambda slots: steering.note_moved(keeper.table.prints(slots), keeper.sizes(slots))
        keeper.watch = lambda slots, there: steering.note(keeper.table.prints(slots), keeper.sizes(slots), there=there)
        if log.gatekeeper is not None:
            log.gatekeeper.watch = partial(steering.note, there=False)

    def _recover(self) -> Exception | None:
        """Whether the disk is well again, and the store reopened if it was poisoned; what is wrong otherwise.

        Calls that come meanwhile wait; owners are told afterwards of pages that were given up. I/O: a small file written and
        read; closes and opens the index, and writes pages again of which a sync failed.
        """
        error = self._reopen()
        if error is None:
            self._notifier.deliver(self._log.take_evicted())
        return error

    def _try_disk(self, disk: int) -> Exception | None:
        """What is wrong with one of several disks, by number. I/O: as :func:`try_disk`."""
        return try_disk(self._parts.fs, self._files.disks.homes[disk])

    def _reopen(self) -> Exception | None:
        """:meth:`_recover` without telling anybody."""
        services, parts = self._services, self._parts
        error = try_disk(parts.fs, join(self.path, "vlog"))
        if error is not None or not services.breaker.poisoned:
            return error
        if services.hanging_reads or not self._gate.pause(PAUSE_S):
            return BusyError("reads that have not ended keep the store from being reopened")
        before = self._log, self._terms, self._keeper
        try:
            close_parts(parts)
            counters, quotas = self._log.counters, self._terms.quotas
            self._build(open_parts(self.path, services.options), self._keeper)
            counters.lost += self._log.counters.lost
            self._space.evicted[:0] = before[0].take_evicted()
            self._log.counters = counters
            if self._steering is not None:
                self._steering.rebase()
            self._terms.quotas.update(quotas)
            registered = {info.number for info in self._registry.listed()}
            for view in list(self._views):
                view.rebind(self._log, self._reader)
                if view.number in registered:
                    self._registry.note_opened(view.number, None)
                else:
                    self._log.dropped.add(view.number)
        except (LsmError, OSError) as failed:
            self._log, self._terms, self._keeper = before  # what is to be carried over next time
            self._gate.broken = PoisonedError(self.path, failed)
            return failed
        else:
            self._gate.broken = None
            return None
        finally:
            self._gate.resume()

    def _keep_ranks(self) -> None:
        """Leave what the policy remembers to the next opening, if the index's share has room for it."""
        try:
            state = self._keeper.memories()
            if state is None:
                return
            self._db.flush()
            if self._share.disk_bytes() + len(state) + KEEPSAKE_SLACK_BYTES <= self._quota.index_bytes:
                keepsake.keep(self._parts.fs, self.path, self._services.options.eviction, state)
        except (LsmError, OSError):  # ranks are worth no error: closing the index meets it again
            return
