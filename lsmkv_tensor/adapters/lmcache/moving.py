"""The work behind the tasks, done by the adapter's threads: objects into the store and out of it, asked for, locked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np

from lsmkv.env.clock import Clock
from lsmkv_tensor.adapters.holding import Holding
from lsmkv_tensor.adapters.lmcache.chains import Chains
from lsmkv_tensor.adapters.lmcache.identity import Identity, Layout, desc_layout, object_layout
from lsmkv_tensor.adapters.lmcache.locks import Locks
from lsmkv_tensor.adapters.lmcache.shelves import Shelf, Shelves, page_keys, records_for
from lsmkv_tensor.adapters.lmcache.tally import Tally
from lsmkv_tensor.adapters.lmcache.telling import Claim, Teller
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.retention.touches import request_id
from lsmkv_tensor.runtime.callers import caller_id, working_for
from lsmkv_tensor.spans import PageBuffers, PageSpans, tensor_window

__all__ = ["Asked", "Mover", "Unpins", "memory_of", "memory_of_one", "unpin_all"]

Unpins: TypeAlias = list[tuple[Namespace, list[bytes]]]
"""Pages that are to be unpinned, where."""

Asked: TypeAlias = tuple[Shelf, list[bytes], int]
"""Pages that were asked for, where, and for which request."""

LIKELY = 2
"""Namespaces in which objects are looked for at once: where most were found before."""

Key: TypeAlias = Any
"""LMCache's ``ObjectKey``."""
Item: TypeAlias = Any
"""LMCache's ``MemoryObj``."""


class Mover:
    """What the threads do. Any thread may call anything."""

    def __init__(
        self,
        holding: Holding,
        shelves: Shelves,
        teller: Teller,
        tally: Tally,
        accessed: Callable[[list[Key]], None],
        clock: Clock,
        wait_s: float,
    ) -> None:
        """``accessed`` is told which objects were loaded. ``wait_s``: seconds that a store waits for room in the queue."""
        self._wait_s = wait_s
        self._holding = holding
        self._shelves = shelves
        self._teller = teller
        self._accessed = accessed
        self._clock = clock
        self._chains = Chains()
        self._tally = tally
        self.locks = Locks()

    def store(self, keys: Sequence[Key], items: Sequence[Item]) -> tuple[bool, int]:
        """Whether all are there now (or were not wanted), and bytes written. I/O: as ``Namespace.put_many``."""
        if not self._holding.claim():
            self._tally.count(declined_pages=len(keys))
            return False, 0
        whole, written = True, 0
        for shelf, at in self._sorted(keys, items):
            done, new = self._store(shelf, [keys[i] for i in at], [items[i] for i in at])
            whole, written = whole and done, written + new * shelf.page_bytes
        return whole, written

    def _store(self, shelf: Shelf, keys: Sequence[Key], items: Sequence[Item]) -> tuple[bool, int]:
        """Store objects of one namespace: whether all are there now or were not wanted, and how many are new."""
        writer = self._teller.hook(shelf)
        if writer is None:
            self._tally.count(declined_pages=len(keys))
            return False, 0
        first: dict[bytes, int] = {}
        for i, name in enumerate(page_keys(keys)):
            first.setdefault(name, i)
        claim = self._teller.claim(shelf, first)
        self._tally.count(present_pages=len(first) - len(claim.keys))
        first = {name: i for name, i in first.items() if name in claim.keys}
        names, keys, items = list(first), [keys[i] for i in first.values()], [items[i] for i in first.values()]
        if writer.queue_bytes >= shelf.page_bytes:
            return self._offer(shelf, writer, claim, names, keys, items)
        new: dict[bytes, Key] = {}
        records: dict[bytes, bytes | None] = {}
        try:
            before = writer.contains_own(names).tolist()
            takes = writer.to_store(names, queued=False).tolist()
            torn = [name for name, was, take in zip(names, before, takes, strict=True) if was and take]
            self._teller.dropped(shelf, torn, mine=True)  # it was read first: a power cut had torn it
            noted = zip(names, records_for(keys), takes, strict=True)
            records = {name: record for name, record, take in noted if take}
            unwanted: set[int] = set()
            memory = memory_of(items, shelf.page_bytes)
            flags = writer.put_many(names, memory, self._chains.before(names), records=records, wait=True, unwanted=unwanted)
            new = {name: key for name, key, flag in zip(names, keys, flags, strict=True) if flag and name in records}
        finally:
            self._teller.release(shelf, names, new, [name for name in records if name not in new])
        there = sum(flags)
        self._tally.count(
            stored_pages=len(new),
            stored_bytes=len(new) * shelf.page_bytes,
            present_pages=there - len(new),
            declined_pages=len(unwanted),
            failed_pages=len(names) - there - len(unwanted),
        )
        return there + len(unwanted) == len(names), len(new)

    def _offer(
        self, shelf: Shelf, writer: Namespace, claim: Claim, names: list[bytes], keys: Sequence[Key], items: Sequence[Item]
    ) -> tuple[bool, int]:
        """As :meth:`_store`, for objects that are copied, and stay claimed until they are written."""
        mine, rest = dict(zip(names, keys, strict=True)), names
        try:
            before, takes = writer.contains_own(names).tolist(), writer.to_store(names, queued=False).tolist()
            torn = [name for name, was, take in zip(names, before, takes, strict=True) if was and take]
            self._teller.dropped(shelf, torn, mine=True)  # it was read first: a power cut had torn it
            flags, accepted = writer.offer(
                names,
                memory_of(items, shelf.page_bytes),
                self._chains.before(names),
                notes=records_for(keys),
                told=partial(self._written, shelf, mine),
                wait_s=self._wait_s,
                ask_first=not all(takes),  # it was asked here: asking again costs a thread, half the time of a small call
            )
            rest = [name for i, name in enumerate(names) if i not in accepted]
        except BaseException:
            waiting = writer.waiting(names)
            rest = [name for name, waits in zip(names, waiting, strict=True) if not waits]
            raise
        finally:
            self._teller.release(shelf, rest, {}, ())
            self._teller.queued(claim)
        there = sum(flags)
        self._tally.count(present_pages=there - len(accepted), failed_pages=len(names) - there)
        return there == len(names), len(accepted)

    def _written(self, shelf: Shelf, keys: Mapping[bytes, Key], names: Sequence[bytes], verdicts: Sequence[bool | None]) -> None:
        """These waited to be written: what became of them is told, and what was locked meanwhile is pinned."""
        new = {name: keys[name] for name, verdict in zip(names, verdicts, strict=True) if verdict}
        self._teller.release(shelf, names, new, [name for name in names if name not in new])
        self._tally.count(
            stored_pages=len(new),
            stored_bytes=len(new) * shelf.page_bytes,
            declined_pages=verdicts.count(None),
            failed_pages=verdicts.count(False),
        )
        locked = [name for name in new if self.locks.holds((shelf.number, name))]
        writer = shelf.writer
        if locked and writer is not None:
            for name, pin in zip(locked, writer.pin(locked), strict=True):
                if pin and not self.locks.pinned((shelf.number, name)):
                    writer.unpin([name])

    def load(self, keys: Sequence[Key], items: Sequence[Item]) -> list[bool]:
        """Which objects came, into their memory; retention knows whose request they are by their locks.

        I/O: as ``Namespace.get_into``.
        """
        found = [False] * len(keys)
        for shelf, at in self._sorted(keys, items):
            reader = shelf.view().reader
            if reader is None:
                continue
            names = page_keys([keys[i] for i in at])
            asker = self.locks.asker((shelf.number, names[0]))
            with working_for(caller_id() if asker is None else asker):  # asking and loading are one use
                flags = reader.get_into(names, memory_of([items[i] for i in at], shelf.page_bytes))
            for i, flag in zip(at, flags, strict=True):
                found[i] = flag
            self._teller.dropped(shelf, [name for name, flag in zip(names, flags, strict=True) if not flag])
        came = [key for key, flag in zip(keys, found, strict=True) if flag]
        self._tally.count(loaded_pages=len(came), missing_pages=len(keys) - len(came))
        if came:
            self._accessed(came)
        return found

    def lookup_at_once(self, keys: Sequence[Key], descs: Mapping[int, Any]) -> list[bool]:
        """Which objects are known to be there, without waiting for a disk or for anybody; they are locked. I/O: none.

        Those of one rank, object group and salt together, or none of them; :meth:`lookup` finds the others. Retention knows.
        """
        found = [False] * len(keys)
        for (identity, _), at in _rows(keys).items():
            names = page_keys([keys[i] for i in at])
            desc = descs.get(identity.group)
            shelves = self._shelves.where(identity, None if desc is None else desc_layout(desc))
            for shelf in sorted(shelves, key=lambda shelf: -shelf.found)[:LIKELY]:
                writer, began = shelf.writer, self._clock.monotonic()
                if writer is not None and writer.pin_at_once(names):
                    asker = request_id()
                    self.locks.add([(shelf.number, name) for name in names], [True] * len(names), asker)
                    shelf.found += len(names)
                    with working_for(asker):
                        writer.asked(names, began)
                    for i in at:
                        found[i] = True
                    break
        return found

    def lookup(self, keys: Sequence[Key], descs: Mapping[int, Any], asked: list[Asked]) -> list[bool]:
        """Which objects are there; each is locked. ``asked`` gains what :meth:`touch` wants. I/O: as ``Namespace.contains``."""
        found = [False] * len(keys)
        for (identity, _), at in _rows(keys).items():
            names = page_keys([keys[i] for i in at])
            there = [False] * len(at)
            shelves, asker = self._asked(identity, descs.get(identity.group)), request_id()
            for shelf in shelves:
                rest = [n for n, flag in enumerate(there) if not flag]
                flags = self._lock_held(shelf, [names[n] for n in rest], asker)
                for n, flag in zip(rest, flags, strict=True):
                    there[n] = flag
                if any(flags):
                    shelf.found += sum(flags)
                    asked.append((shelf, [names[n] for n in rest], asker))
            if shelves and not any(there):
                asked.append((shelves[0], names, asker))
            self._chains.note(names, there)
            for i, flag in zip(at, there, strict=True):
                found[i] = flag
        return found

    @staticmethod
    def touch(asked: Sequence[Asked]) -> None:
        """Let retention and admission know what was asked for. I/O: as ``Namespace.contains_prefix``."""
        for shelf, names, asker in asked:
            reader = shelf.view().reader
            if reader is not None:
                with working_for(asker):
                    reader.contains_prefix(names)

    def unlock(self, keys: Sequence[Key]) -> Unpins:
        """Undo one lock of each; the pages that are still to be unpinned, as somebody would have to be waited for. I/O: none."""
        left: Unpins = []
        for shelf, names in self._anywhere(keys):
            unpin = [name for _, name in self.locks.remove((shelf.number, name) for name in names)]
            writer = shelf.writer
            if unpin and writer is not None and not writer.unpin_at_once(unpin):
                left.append((writer, unpin))
        return left

    def delete(self, keys: Sequence[Key]) -> int:
        """Delete objects that are not locked; how many. I/O: as ``Namespace.delete_many``."""
        return sum(
            self._teller.delete(shelf, [name for name in names if not self.locks.holds((shelf.number, name))])
            for shelf, names in self._anywhere(keys)
        )

    # helpers

    def _lock_held(self, shelf: Shelf, names: list[bytes], asker: int) -> list[bool]:
        """Which of these pages are there; they are locked."""
        view = shelf.view()
        if view.reader is None or not names:
            return [False] * len(names)
        flags: list[bool] = view.reader.contains(names).tolist()
        held = [name for name, flag in zip(names, flags, strict=True) if flag]
        if not held:
            return flags
        pins = [False] * len(held) if view.writer is None else view.writer.pin(held)
        if not all(pins):  # gone since it was asked for; or a sibling's, or more than may be pinned
            loose = [name for name, pin in zip(held, pins, strict=True) if not pin]
            gone = {name for name, flag in zip(loose, view.reader.contains(loose), strict=True) if not flag}
            flags = [flag and name not in gone for name, flag in zip(names, flags, strict=True)]
            kept = [(name, pin) for name, pin in zip(held, pins, strict=True) if name not in gone]
            held, pins = [name for name, _ in kept], [pin for _, pin in kept]
        self.locks.add([(shelf.number, name) for name in held], pins, asker)
        return flags

    def _asked(self, identity: Identity, desc: Any) -> list[Shelf]:  # noqa: ANN401  # LMCache's MemoryLayoutDesc
        """Where to look for objects that will be loaded as described."""
        if desc is None:
            return self._shelves.where(identity, None)
        layout = desc_layout(desc)
        exact = self._shelves.get(identity, layout, _bytes_of(desc))
        return sorted(self._shelves.where(identity, layout), key=lambda shelf: (-shelf.found, shelf is not exact))

    def _anywhere(self, keys: Sequence[Key]) -> Iterable[tuple[Shelf, list[bytes]]]:
        """Where any of these may be, whatever its layout."""
        rows: dict[Identity, list[Key]] = {}
        for key in keys:
            rows.setdefault(Identity.of(key), []).append(key)
        for identity, own in rows.items():
            names = page_keys(own)
            for shelf in self._shelves.where(identity, None):
                yield shelf, names

    def _sorted(self, keys: Sequence[Key], items: Sequence[Item]) -> list[tuple[Shelf, list[int]]]:
        """The objects' positions by namespace."""
        found: dict[tuple[Identity, Layout, int], list[int]] = {}
        for i, (key, item) in enumerate(zip(keys, items, strict=True)):
            found.setdefault((Identity.of(key), object_layout(item), item.get_size()), []).append(i)
        return [(self._shelves.get(*what), at) for what, at in found.items()]


def _rows(keys: Sequence[Key]) -> dict[tuple[Identity, str], list[int]]:
    """The positions of objects by whose they are, and their salt."""
    rows: dict[tuple[Identity, str], list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault((Identity.of(key), key.cache_salt), []).append(i)
    return rows


def unpin_all(left: Unpins) -> None:
    """Unpin what :meth:`Mover.unlock` has left. I/O: none."""
    for writer, names in left:
        writer.unpin(names)


def memory_of(items: Sequence[Item], page_bytes: int) -> PageBuffers:
    """The memory of objects of this size. InvalidArgumentError if it is another device's."""
    if len(items) == 1:
        return [memory_of_one(items[0], page_bytes)]
    addresses = np.fromiter((item.data_ptr for item in items), np.uint64, len(items))
    owners = [getattr(item, "raw_tensor", item) for item in items]
    return PageSpans(addresses[:, None], np.array([page_bytes], np.int64), owners)


def memory_of_one(item: Item, page_bytes: int) -> memoryview:
    """As :func:`memory_of`, of one: arrays of one address take longer than finding a small page."""
    owner = getattr(item, "raw_tensor", item)
    if (address := item.data_ptr) and getattr(getattr(owner, "device", None), "type", "cpu") == "cpu":
        return tensor_window(address, page_bytes, owner)
    return PageSpans(np.array([[address]], np.uint64), np.array([page_bytes], np.int64), [owner]).views()[0][0]


def _bytes_of(desc: Any) -> int:  # noqa: ANN401  # LMCache's MemoryLayoutDesc
    """Bytes of an object of this layout."""
    return sum(prod(shape) * dtype.itemsize for shape, dtype in zip(desc.shapes, desc.dtypes, strict=True))
