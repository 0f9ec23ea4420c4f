"""The work of the in-process plug-in: chunks out of LMCache's memory into the store, and into memory that LMCache allocates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from lsmkv.env.clock import Clock
from lsmkv_tensor.adapters.holding import Holding
from lsmkv_tensor.adapters.lmcache.chains import Chains
from lsmkv_tensor.adapters.lmcache.chunks import ChunkLayout, ChunkNames, PluginParts, Worker, chunk_layout, chunk_name
from lsmkv_tensor.adapters.lmcache.locks import Locks
from lsmkv_tensor.adapters.lmcache.moving import memory_of, memory_of_one
from lsmkv_tensor.adapters.lmcache.reading import Reading
from lsmkv_tensor.adapters.lmcache.shelves import Shelf, Shelves
from lsmkv_tensor.adapters.lmcache.tally import Tally
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.namespaces import Namespace

__all__ = ["Carrier"]

Key: TypeAlias = Any
"""LMCache's ``CacheEngineKey``."""
Item: TypeAlias = Any
"""LMCache's ``MemoryObj``."""

LEARN_S = 1.0
"""Seconds between two looks at which namespaces other processes have."""


class Carrier:
    """What the plug-in does. Any thread may call anything."""

    def __init__(
        self,
        holding: Holding | Reading,
        shelves: Shelves,
        parts: PluginParts,
        tally: Tally,
        allocator: Any,  # noqa: ANN401  # LMCache's LocalCPUBackend
        clock: Clock,
        wait_s: float,
    ) -> None:
        """``wait_s``: seconds that a store waits for room in the queue of puts."""
        self._wait_s = wait_s
        self._holding = holding
        self._shelves = shelves
        self._parts = parts
        self._tally = tally
        self._allocator = allocator
        self._clock = clock
        self._chains = Chains()
        self.names = ChunkNames()
        self._learnt: float | None = None
        self._last: Shelf | None = None
        self.last_writer: Namespace | None = None
        """Of the namespace that answered last; if it has another one now, this one's store is closed, and it says nothing."""
        self._forms: dict[ChunkLayout, tuple[Any, Any, Any]] = {}  # shapes, dtypes and format of LMCache's: one per namespace
        self._fitting: set[int] = set()
        """Numbers of namespaces whose chunks have as many bytes as LMCache's memory for them."""
        self.locks = Locks()

    # asking

    def prefix(self, keys: Sequence[Key], *, pin: bool) -> int:
        """How many chunks from the first on are there; ``pin``: they are locked. I/O: as ``Namespace.contains_prefix``."""
        names = self.names.of(keys)
        last = self._last
        if last is not None and names and not pin:  # a name says whose chunk it is: wherever it is found it is the one
            writer = last.view().writer
            if writer is not None and writer.found_at_once(names):
                return len(names)
        found = 0
        while found < len(keys) and (step := self._run(Worker.of(keys[found]), names[found:], pin=pin)):
            found += step
        if found < len(keys):
            self._chains.note(names, [i < found for i in range(len(names))])
        return found

    def unlock(self, key: Key) -> bool:
        """Undo one lock; whether there was one. I/O: none."""
        name = chunk_name(key)
        for shelf in self._shelves.where(Worker.of(key), None):
            if self.locks.holds((shelf.number, name)):
                writer = shelf.writer
                if self.locks.remove([(shelf.number, name)]) and writer is not None:
                    writer.unpin([name])
                return True
        return False

    def _run(self, worker: Worker, names: list[bytes], *, pin: bool) -> int:
        """How many of these are in one namespace from the first on."""
        for shelf in self._known(worker):
            view = shelf.view()
            step = 0 if view.reader is None else view.reader.contains_prefix(names)
            if step:
                self._last, self.last_writer = shelf, view.writer
                if pin:
                    pins = [False] * step if view.writer is None else view.writer.pin(names[:step])
                    self.locks.add([(shelf.number, name) for name in names[:step]], pins)
                return step
        return 0

    # chunks in and out

    def put(self, keys: Sequence[Key], items: Sequence[Item]) -> None:
        """Store chunks of one call, in the order of their tokens. I/O: as ``Namespace.put_many``."""
        if not self._holding.claim():
            self._tally.count(declined_pages=len(keys))
            return
        names = self.names.of(keys)
        above = [*self._chains.before(names[:1]), *names[:-1]]
        places: dict[tuple[Worker, ChunkLayout, int], list[int]] = {}
        for i, (key, item) in enumerate(zip(keys, items, strict=True)):
            places.setdefault((Worker.of(key), chunk_layout(item), item.get_size()), []).append(i)
        for what, at in places.items():
            shelf = self._shelves.get(*what)
            writer = self._hooked(shelf)
            if writer is None:
                self._tally.count(declined_pages=len(at))
                continue
            own, notes = [names[i] for i in at], self._notes(shelf, [items[i] for i in at])
            if writer.queue_bytes >= shelf.page_bytes:
                memory = memory_of([items[i] for i in at], shelf.page_bytes)
                flags, new = writer.offer(
                    own,
                    memory,
                    [above[i] for i in at],
                    notes=notes,
                    told=partial(self._written, shelf.page_bytes),
                    wait_s=self._wait_s,
                    ask_first=False,
                )
                self._tally.count(present_pages=sum(flags) - len(new), failed_pages=len(flags) - sum(flags))
                continue
            takes = writer.to_store(own, queued=False).tolist()
            records = {name: note for name, note, take in zip(own, notes, takes, strict=True) if take and note is not None}
            unwanted: set[int] = set()
            memory = memory_of([items[i] for i in at], shelf.page_bytes)
            flags = writer.put_many(own, memory, [above[i] for i in at], records=records, wait=True, unwanted=unwanted)
            new = sum(flag and take for flag, take in zip(flags, takes, strict=True))
            self._tally.count(
                stored_pages=new,
                stored_bytes=new * shelf.page_bytes,
                present_pages=sum(flags) - new,
                declined_pages=len(unwanted),
                failed_pages=len(flags) - sum(flags) - len(unwanted),
            )

    def _written(self, page_bytes: int, names: Sequence[bytes], verdicts: Sequence[bool | None]) -> None:
        """These waited to be written; called by the store's worker."""
        del names
        stored = verdicts.count(True)
        self._tally.count(
            stored_pages=stored,
            stored_bytes=stored * page_bytes,
            declined_pages=verdicts.count(None),
            failed_pages=verdicts.count(False),
        )

    def get(self, keys: Sequence[Key], *, wait: bool) -> list[Item | None]:
        """Chunks in memory of LMCache's; None for each that is not there. I/O: as ``Namespace.get_into``.

        ``wait``: for memory, if there is none just now.
        """
        last = self._last
        if len(keys) == 1 and last is not None:
            known = [self.names.one(keys[0])]
            if (one := self._one(last, known, wait=wait)) is not None:
                return one
        else:
            known = self.names.of(keys)
        found: list[Item | None] = [None] * len(keys)
        try:
            for shelf, at in self._places(keys, known):
                self._load(shelf, at, known, found, wait=wait)
        except BaseException:  # whoever asked is told of none
            for item in found:
                if item is not None:
                    item.ref_count_down()
            raise
        came = sum(item is not None for item in found)
        self._tally.count(loaded_pages=came, missing_pages=len(keys) - came)
        return found

    def _load(self, shelf: Shelf, at: Sequence[int], names: Sequence[bytes], found: list[Item | None], *, wait: bool) -> None:
        """Chunks of one namespace, by position in the call, into ``found``; memory of what does not come is given back."""
        reader = shelf.view().reader
        if reader is None:
            return
        items: list[tuple[int, Item]] = []
        try:
            for i in at:
                if (item := self._allocate(shelf, wait=wait)) is not None:
                    items.append((i, item))  # noqa: PERF401  # if the next cannot be had, this one is given back
            own = [names[i] for i, _ in items]
            flags = reader.get_into(own, memory_of([item for _, item in items], shelf.page_bytes)) if items else []
            for (i, item), flag, name in zip(items, flags, own, strict=True):
                if flag and self._annotate(shelf, name, item):
                    found[i] = item
        finally:
            for i, item in items:
                if found[i] is not item:
                    item.ref_count_down()

    def _one(self, shelf: Shelf, names: list[bytes], *, wait: bool) -> list[Item | None] | None:
        """:meth:`get` of one chunk, in few steps: they take longer than a small page after a pause. None: it may be elsewhere.

        ``shelf``: the namespace that answered last. If the chunk is there it is the one: a name says whose chunk it is.
        """
        view = shelf.view()
        item: Item | None = None
        came = whole = False

        def memory() -> list[memoryview] | None:
            """Some of LMCache's, if there is any at once: the disk reads meanwhile."""
            nonlocal item
            item = self._allocate(shelf, wait=False)
            return None if item is None else [memory_of_one(item, shelf.page_bytes)]

        try:
            reader, writer = view.reader, view.writer
            if writer is not None:
                came = writer.read_at_once(names[0], memory, writer.services.until(None)) is not None
            if not came:
                if reader is None or not reader.known(names):
                    return None
                item = self._allocate(shelf, wait=wait) if item is None else item
                came = item is not None and reader.get_into(names, memory_of([item], shelf.page_bytes))[0]
            whole = came and self._annotate(shelf, names[0], item)
        finally:
            if not whole and item is not None:
                item.ref_count_down()
        self._tally.count(loaded_pages=int(whole), missing_pages=int(not whole))
        return [item if whole else None]

    def remove(self, keys: Sequence[Key]) -> int:
        """Delete chunks; how many were here. I/O: as ``Namespace.delete_many``."""
        removed = 0
        known = self.names.of(keys)
        for shelf, at in self._places(keys, known):
            writer = shelf.writer
            if writer is not None:
                names = [known[i] for i in at]
                removed += writer.delete_many(names, records=names if shelf.layout.positions else ())
        return removed

    # helpers

    def _known(self, worker: Worker) -> list[Shelf]:
        """This worker's namespaces, whole chunks first."""
        if self._learnt is None or (
            self._holding.state != "own" and self._clock.monotonic() - self._learnt >= LEARN_S
        ):  # others make namespaces that are not registered here
            self._learnt = self._clock.monotonic()
            if self._holding.store is not None:
                self._shelves.learn(self._holding.store.namespaces())
        return sorted(self._shelves.where(worker, None), key=lambda shelf: -shelf.page_bytes)

    def _places(self, keys: Sequence[Key], names: Sequence[bytes]) -> Iterator[tuple[Shelf, list[int]]]:
        """Where each chunk is; ``names``: their pages' keys."""
        last = self._last
        if last is not None and last.view().knows(names):  # a name says whose chunk it is
            yield last, list(range(len(keys)))
            return
        workers: dict[Worker, list[int]] = {}
        for i, key in enumerate(keys):
            workers.setdefault(Worker.of(key), []).append(i)
        for worker, left in workers.items():
            rest = left
            for shelf in self._known(worker):
                reader = shelf.view().reader
                if reader is None or not rest:
                    continue
                flags = reader.contains([names[i] for i in rest])
                at = [i for i, flag in zip(rest, flags, strict=True) if flag]
                rest = [i for i, flag in zip(rest, flags, strict=True) if not flag]
                if at:
                    self._last, self.last_writer = shelf, shelf.writer
                    yield shelf, at

    def _allocate(self, shelf: Shelf, *, wait: bool) -> Item | None:
        """Memory for a chunk; None if there is none. InvalidArgumentError if it has not the bytes of one."""
        layout = shelf.layout
        form = self._forms.get(layout)
        if form is None:
            shapes = [self._parts.shape(shape) for shape in layout.shapes]
            dtypes = [self._parts.dtype(name) for name in layout.dtypes]
            what = (shapes, dtypes) if len(shapes) > 1 else (shapes[0], dtypes[0])
            form = (*what, self._parts.fmt(layout.fmt))
            if len(shapes) == 1:  # lists are the object's own
                self._forms[layout] = form
        item: Item | None = self._allocator.allocate(*form, busy_loop=wait)
        if item is not None and shelf.number not in self._fitting:  # memory of one layout has one size: it is asked for once
            size = item.get_size()
            if size != shelf.page_bytes:
                item.ref_count_down()
                msg = (
                    f"chunks of {shelf.page_bytes} bytes are here, and LMCache's memory for one has {size}: another version of "
                    "LMCache stored them; give another path, or remove this one: it is a cache"
                )
                raise InvalidArgumentError(msg)
            self._fitting.add(shelf.number)
        return item

    def _notes(self, shelf: Shelf, items: Sequence[Item]) -> list[bytes | None]:
        """The positions of chunks that have them."""
        if not shelf.layout.positions:
            return [None] * len(items)
        return [self._parts.positions_out(item.metadata.cached_positions) for item in items]

    def _annotate(self, shelf: Shelf, name: bytes, item: Item) -> bool:
        """Give a chunk its positions, if it has any; False if they are missing."""
        if not shelf.layout.positions:
            return True
        writer = shelf.writer
        if writer is not None and (waits := writer.waiting_note(name)) is not None:
            item.metadata.cached_positions = self._parts.positions_in(waits)
            return True
        for key, positions in islice(writer.records(name), 1) if writer is not None else ():
            if key == name:
                item.metadata.cached_positions = self._parts.positions_in(positions)
                return True
        return False

    def _hooked(self, shelf: Shelf) -> Namespace | None:
        """The shelf's writer; the positions of what is evicted are forgotten from now on."""
        writer = shelf.writer
        if writer is not None and writer is not shelf.hooked:
            shelf.hooked = writer
            if shelf.layout.positions:
                writer.on_evict(partial(self._forget, writer))
        return writer

    @staticmethod
    def _forget(writer: Namespace, keys: list[bytes], sizes: list[int]) -> None:
        """Delete records whose page was evicted."""
        del sizes
        gone = [key for key, here in zip(keys, writer.contains_own(keys), strict=True) if not here]
        if gone:
            writer.write_records(dict.fromkeys(gone))
