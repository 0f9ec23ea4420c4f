"""A namespace of a page store: page keys in, bytes from and into the caller's memory. What every adapter uses.

Page keys are digests that the caller computed: 28 bytes are taken as they are, anything else is brought to 28 bytes by
:func:`lsmkv_tensor.keys.flat.flat_key`. Buffers are described in :mod:`lsmkv_tensor.spans`. After a call returns, nothing
touches the caller's memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from lsmkv_tensor.asking import Asking, tokens_of
from lsmkv_tensor.codec import RAW, Codec
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.finding import finder, finder_of_one
from lsmkv_tensor.getting import getter
from lsmkv_tensor.keys.flat import flat_key
from lsmkv_tensor.keys.given import PageKey
from lsmkv_tensor.knowing import Knowing
from lsmkv_tensor.offering import Offering, waiting_pages
from lsmkv_tensor.passage import Passage, telling
from lsmkv_tensor.pinned import Pinned
from lsmkv_tensor.registry import Described, NamespaceInfo
from lsmkv_tensor.retention.notify import EvictCallback, Notifier
from lsmkv_tensor.retention.terms import checked_ttl
from lsmkv_tensor.retention.touches import READ, STORE
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.waterfall import Cause
from lsmkv_tensor.services import Services
from lsmkv_tensor.sharing.shared import Everywhere
from lsmkv_tensor.smallrecords import SmallRecords
from lsmkv_tensor.spans import PageBuffers, page_views
from lsmkv_tensor.vlog.hurried import read_by, scatter
from lsmkv_tensor.vlog.layout import NO_PARENT, has_ended, payload_check
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import PageReader
from lsmkv_tensor.vlog.reserved import RECORDS, number_key
from lsmkv_tensor.vlog.writer import Page

__all__ = ["Namespace", "PageKey"]


LARGE_BYTES = 512 << 10
"""Bytes of a page from which on several threads encode the pages of a put. With smaller ones they wait for the interpreter."""
ENCODE_BYTES = 1 << 20
"""Bytes of pages that one thread encodes at a time."""


class Namespace(Passage, SmallRecords, Asking, Offering, Pinned, Described):
    """A registered view of a store. Made by :meth:`PageStore.namespace`; any thread may call anything."""

    def __init__(
        self,
        info: NamespaceInfo,
        gate: StoreGate,
        log: ValueLog,
        reader: PageReader,
        notifier: Notifier,
        codec: Codec,
        services: Services | None = None,
        ttl_s: float | None = None,
    ) -> None:
        self.info = info
        self._codec = codec
        self._ttl_s = ttl_s
        self.services = services if services is not None else Services()
        self._telling_poison = self.services.telling_poison
        self._gate = gate
        self._log = log
        self._reader = reader
        self._everywhere = Everywhere.of(info, log, reader, self.services.siblings)
        self._source = reader if self._everywhere is None else self._everywhere
        self._notifier = notifier
        self._prefix = info.number.to_bytes(4, "big")
        self._knowing = Knowing(log, gate, self.services.breaker, self._prefix)
        self._tokens = tokens_of(info.fields)
        self.found_at_once = finder(self.services, log, gate, self._prefix, self._tokens)
        self.found_one = finder_of_one(self.services, log, gate, self._prefix, self._tokens)
        self.read_at_once = getter(self.services, log, reader, gate, self._prefix, self._tokens)
        self._records = number_key(RECORDS, info.number)

    @property
    def number(self) -> int:
        """The number that begins its keys."""
        return self.info.number

    @property
    def codec(self) -> str:
        """The codec that this view stores pages with; it reads pages of any."""
        return self._codec.name

    # asking

    def keys(self) -> Iterator[bytes]:
        """The 28-byte keys of all stored pages, ascending, as of the call. I/O: a scan of the namespace's index entries."""
        with self._gate:
            entries = self._log.db.scan(prefix=self._prefix)
            now = self._log.minute()
        return (key[4:] for key, value in entries if not has_ended(value, now))

    def parents(self, keys: Sequence[PageKey]) -> list[bytes | None]:
        """The 28-byte key of each page's predecessor; None if the page is absent or has none. I/O: as :meth:`contains`."""
        with self._gate:
            places = self._log.current_places(self.index_keys(keys))
        return [None if p is None or p.parent == NO_PARENT else p.parent for p in places]

    # pages in and out

    def put_many(
        self,
        keys: Sequence[PageKey],
        buffers: PageBuffers,
        parents: Sequence[PageKey | None] | None = None,
        *,
        records: Mapping[bytes, bytes | None] | None = None,
        wait: bool | None = None,
        ttl_s: float | None = None,
        unwanted: set[int] | None = None,
    ) -> list[bool]:
        """Store pages. True: the page is there now, stored by this call or before (then it is not written again).

        ``wait``: True writes before returning; False copies the pages, and a worker writes them (a flag then says: there, or
        accepted). None: as ``StoreOptions.put_queue_bytes`` says; with ``records`` always as True.

        ``ttl_s``: seconds that these pages exist, rounded up to whole minutes; None: as the namespace was opened.

        ``parents``: per page the key of the page before it. ``records``: small records of the namespace (see
        :meth:`records`) that become visible with or before the first page; None deletes one. False: no space, or writing
        failed; nothing of the page is kept. A key given twice is stored once, from its first buffer. ``unwanted`` gains the
        positions of the pages that admission did not want (of those accepted to be written later, none).

        Raises InvalidArgumentError (counts or sizes that do not fit; nothing is stored), ClosedError, and without a breaker
        PoisonedError.

        I/O: one gathered write per frame (all pages of a call, if the segment has room) and one index commit.
        """
        ttl_s = checked_ttl(ttl_s) or self._ttl_s
        queue = self.services.queue_for(True if wait is None and records else wait)
        views = page_views(buffers, len(keys), self.page_bytes)
        above = self._parents(parents, len(keys))
        index_keys = self.index_keys(keys)
        if queue is not None:
            if records:
                msg = "records are written with their pages before put_many returns: leave wait=False out, or use offer"
                raise InvalidArgumentError(msg)
            return self._offer(index_keys, views, waiting_pages(above, None, self._end(ttl_s))).flags
        if not keys and records:
            self.write_records(records)
            return []
        end = self._end(ttl_s)
        return self._shielded(
            "write",
            lambda: self._put(index_keys, views, above, records, end, unwanted),
            lambda: self._declined(index_keys),
        )

    def _put(
        self,
        index_keys: list[bytes],
        views: list[list[memoryview]],
        above: list[bytes],
        records: Mapping[bytes, bytes | None] | None,
        end: int | None,
        unwanted: set[int] | None = None,
    ) -> list[bool]:
        """Store pages that are not there, and records; which pages are there then. ``end``: the minute at which they end."""
        with telling(self._log, self._notifier), self._gate:
            commits = self._log.commits
            use: dict[bytes, bytes] = {}
            there: list[bool] = self._there(index_keys, queued=False, putting=True, touch=STORE).tolist() if index_keys else []
            first: dict[bytes, int] = {}
            for i, key in enumerate(index_keys):
                if not there[i]:
                    first.setdefault(key, i)
            pages = self._made(list(first.items()), above, views)
            if end is not None and pages:
                use = self._log.terms.expires(self.number)
                pages = [page._replace(kind=page.kind | end << 8) for page in pages]
            self._log.counters.present_pages += len(index_keys) - len(pages)
            self._log.touch(STORE, [key for key, stored in zip(index_keys, there, strict=True) if stored])
            if not pages and not records:
                return there
            written = self._record_keys(records) | use
            refused: list[bytes] = []
            stored, evicted = self._log.put(pages, written, absent_at=commits, page_bytes=self.page_bytes, refused=refused)
            if unwanted is not None and refused:
                gone = set(refused)
                unwanted.update(i for i, key in enumerate(index_keys) if key in gone)
            verdicts = dict(zip(index_keys, there, strict=True)) | dict(zip(first, stored, strict=True))
            verdicts.update(dict.fromkeys(evicted, False))  # what was there may have made room for the rest
            self.services.note_put(first, stored)
            return [verdicts[key] for key in index_keys]

    def get_into(
        self, keys: Sequence[PageKey], buffers: PageBuffers, deadline_s: float | None = None, *, copied: set[int] | None = None
    ) -> list[bool]:
        """Read pages into the caller's memory.

        True: the page is there, every byte checked. False: absent, unreadable or late; its buffer's contents are then undefined.

        ``deadline_s``: seconds after which this is back whatever the disk does, with the first pages that came; None: the store's
        ``io_timeout_s``. With a deadline pages come from the page cache, or from memory of the store, so a late one never
        touches the caller's memory. ``copied`` gains the positions of those that came from memory of the store: a copy more.

        Raises InvalidArgumentError (counts or sizes that do not fit; nothing is read), ClosedError.

        I/O: one batched index lookup, one read per stretch of neighbouring pages; with a deadline once per 8 MiB of pages.
        """
        until = self.services.until(deadline_s)
        views = page_views(buffers, len(keys), self.page_bytes, writable=True)
        index_keys = self.index_keys(keys)
        if len(index_keys) == 1 and (one := self.read_at_once(index_keys[0][4:], lambda: views[0], until)) is not None:
            if one.copied and copied is not None:
                copied.add(0)
            return [True]
        why: dict[int, Cause] = {}
        found = self._shielded("read", lambda: self._get(index_keys, views, until, why, copied), self.services.refusal)
        if isinstance(found, str):
            self.services.waterfall.refused("get", len(keys), found, self._tokens)
            return [False] * len(keys)
        if not all(found):
            self._knowing.doubt(index_keys, found)
        self.services.waterfall.pages(index_keys, found, why, self._tokens, self._defer)
        return found

    def _get(
        self,
        index_keys: list[bytes],
        views: list[list[memoryview]],
        until: float | None,
        why: dict[int, Cause],
        copied: set[int] | None,
    ) -> list[bool]:
        """Pages from the queue and from segments, inside the gate; ``why`` gains what is known of those not delivered."""
        puts = self.services.puts
        if puts is None or puts.holds(()) is None:
            return self._read(index_keys, views, until, range(len(index_keys)), why, copied)
        with puts.holding(index_keys) as here:
            for i, page in here.items():
                scatter(page, views[i])
        self._reader.count([True] * len(here), 0)
        rest = [i for i in range(len(index_keys)) if i not in here]
        found = iter(self._read([index_keys[i] for i in rest], [views[i] for i in rest], until, rest, why, copied))
        return [i in here or next(found) for i in range(len(index_keys))]

    def await_room(self, pages: int, seconds: float) -> bool:
        """Wait until the queue of puts has room for so many pages, at most that long; whether it has. True without a queue.

        More pages than it ever holds: until it is empty. For callers on a thread of their own, who would rather wait than have
        pages declined.
        """
        return self.services.await_room(pages * self.page_bytes, pages, seconds)

    def delete_many(self, keys: Sequence[PageKey], *, records: Sequence[bytes] = ()) -> int:
        """Delete pages (and small records); how many pages were there. Their bytes are reclaimed later.

        Raises PoisonedError, NoSpaceError, BusyError, ClosedError.

        I/O: one index lookup and commit per 1024 keys.
        """
        index_keys = self.index_keys(keys)
        with self.services.telling_poison(), self._gate:
            if self.services.puts is not None and any(self.services.puts.holds(index_keys) or ()):
                self.services.settle()
            self.services.waterfall.fates.note(index_keys, "dropped")
            return self._log.delete(index_keys, [self._records + key for key in records])

    def on_evict(self, callback: EvictCallback) -> None:
        """Call ``callback(keys, sizes)`` whenever pages of this namespace were evicted to make room (not on delete).

        ``sizes``: bytes of each page as it was stored, encoded or not.
        """
        self._notifier.register(self.number, callback)

    # helpers

    def rebind(self, log: ValueLog, reader: PageReader) -> None:
        """Work on these from now on: the store was reopened, no call is inside."""
        self._log = log
        self._reader = reader
        self._knowing = Knowing(log, self._gate, self.services.breaker, self._prefix, self._knowing)
        self.found_at_once = finder(self.services, log, self._gate, self._prefix, self._tokens)
        self.found_one = finder_of_one(self.services, log, self._gate, self._prefix, self._tokens)
        self.read_at_once = getter(self.services, log, reader, self._gate, self._prefix, self._tokens)
        self._everywhere = Everywhere.of(self.info, log, reader, self.services.siblings)
        self._source = reader if self._everywhere is None else self._everywhere

    def _end(self, ttl_s: float | None) -> int | None:
        """The minute at which pages that are put now end."""
        return None if ttl_s is None else self._log.terms.end(ttl_s)

    def _read(
        self,
        index_keys: list[bytes],
        views: list[list[memoryview]],
        until: float | None,
        positions: Sequence[int],
        why: dict[int, Cause],
        copied: set[int] | None,
    ) -> list[bool]:
        """Read pages from segments, by that moment if there is one; the store learns how long it took."""
        services = self.services
        counters = self._log.counters
        began, errors, alone = services.clock.monotonic(), counters.read_errors, counters.alone
        if until is None:
            twice: list[int] = []
            flags = self._source.get_into(index_keys, views, twice)
        else:
            flags, late, twice = read_by(self._source, services.attempts, services.staging, index_keys, views, until)
            if late:
                services.late_pages += len(late)
                why.update((positions[i], "late") for i in late)
        if copied is not None:
            copied.update(map(positions.__getitem__, twice))
        if counters.read_errors > errors or counters.alone > alone:
            stored = list(self._still_there(until, index_keys))
            cause: Cause = "corrupt" if counters.read_errors > errors else "breaker"
            lost = zip(positions, stored, flags, strict=True)
            why.update((i, cause) for i, there, flag in lost if there is not False and not flag)
        whole = all(flags)
        self._log.touch(READ, index_keys if whole else [key for key, flag in zip(index_keys, flags, strict=True) if flag])
        if flags and whole:
            services.loads.note(len(flags) * self.page_bytes, services.clock.monotonic() - began)
        return flags

    def _made(
        self, wanted: Sequence[tuple[bytes, int]], above: Sequence[bytes], views: Sequence[Sequence[memoryview]]
    ) -> list[Page]:
        """The pages (index key, position) as they will be stored; large ones are encoded by several threads."""
        if self._codec.name == "raw":
            size = self.page_bytes
            return [Page(key, above[i], size, RAW, None, views[i]) for key, i in wanted]

        def some(start: int, stop: int) -> list[Page]:
            """A part of them."""
            return [self._page(key, above[i], views[i]) for key, i in wanted[start:stop]]

        step = max(ENCODE_BYTES // self.page_bytes, 1) if self.page_bytes >= LARGE_BYTES else max(len(wanted), 1)
        parts = [partial(some, start, start + step) for start in range(0, len(wanted), step)]
        return [page for part in self.services.crew.run(parts) for page in part]

    def _page(self, key: bytes, parent: bytes, spans: Sequence[memoryview]) -> Page:
        """A page as it will be stored: encoded if that saves space."""
        encoded = self._codec.encode(spans)
        if encoded is None:
            return Page(key, parent, self.page_bytes, RAW, None, spans)
        codec, payload = encoded
        stored = [memoryview(payload)]
        return Page(key, parent, len(payload), codec, payload_check(key, stored), stored)

    def _parents(self, parents: Sequence[PageKey | None] | None, n: int) -> list[bytes]:
        """The parents as 28-byte page keys, zeros where there is none."""
        if parents is None:
            return [NO_PARENT] * n
        if len(parents) != n:
            msg = f"{len(parents)} parents for {n} keys"
            raise InvalidArgumentError(msg)
        return [NO_PARENT if p is None else flat_key(p) for p in parents]
