"""Looking for pages here first, then at the siblings: what a namespace of a member asks instead of its own log and reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.registry import NamespaceInfo, canonical
from lsmkv_tensor.retention.touches import READ
from lsmkv_tensor.runtime.waterfall import Loss
from lsmkv_tensor.sharing.fetching import SharedFetcher
from lsmkv_tensor.sharing.siblings import Siblings
from lsmkv_tensor.vlog.atonce import Found
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import PageReader
from lsmkv_tensor.vlog.when import When

__all__ = ["Everywhere", "SiblingReader", "leading"]

PREFIX_STEP = 128
"""Keys asked at a time while the prefix goes on; doubles with every step."""


def leading(contains: Callable[[slice], NDArray[np.bool_]], n: int, known: int = 0) -> int:
    """How many of ``n`` keys are there from the first on without a gap; ``known``: the first so many are, whatever it says."""
    step = PREFIX_STEP
    while known < n:
        there = contains(slice(known, known + step))
        if not there.all():
            return known + int(there.argmin())
        known += len(there)
        step *= 2
    return known


class SiblingReader:
    """Delivers pages of one namespace that siblings hold; keys are those of the pages, 28 bytes."""

    def __init__(self, siblings: Siblings, text: bytes) -> None:
        """``text``: the canonical text of the namespace."""
        self._siblings = siblings
        self._text = text

    def contains(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which pages somebody holds. I/O: as :meth:`Siblings.contains`."""
        return self._siblings.contains(self._text, keys)

    def keys(self) -> set[bytes]:
        """The keys of all pages that somebody holds. I/O: as :meth:`Siblings.keys`."""
        return self._siblings.keys(self._text)

    def deliver(self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]]) -> list[bool]:
        """Fill each target with the page of its key; False: nobody delivered it. I/O: as :meth:`Siblings.get_into`."""
        return self._siblings.get_into(self._text, keys, targets, sum(map(len, targets[0]))) if targets else []

    def prefetch(self, keys: Sequence[bytes]) -> None:
        """Have the kernel read these pages ahead. I/O: as :meth:`Siblings.prefetch`."""
        self._siblings.prefetch(self._text, keys)

    def at_once(self, keys: Sequence[bytes], _targets: Sequence[Sequence[memoryview]], _when: When) -> Found:
        """Nothing: siblings are asked by threads that may be left."""
        return Found([None] * len(keys), [])

    def fetcher(self, page_bytes: int) -> SharedFetcher:
        """What brings pages of siblings in time without a copy."""
        return SharedFetcher(None, self._siblings, self._text, page_bytes)

    knows_all = False
    """What it could not fetch may be there."""

    def count(self, delivered: Sequence[bool], page_bytes: int) -> None:
        """Nothing: siblings are counted as they deliver."""


class Everywhere:
    """One namespace of a member: its own pages, then those of its siblings; keys are those of its index, 32 bytes."""

    def __init__(self, log: ValueLog, reader: PageReader, siblings: Siblings, text: bytes, digest: bytes) -> None:
        """``text``: the canonical text of the namespace, of which ``digest`` is the SHA-256."""
        self._log = log
        self._reader = reader
        self._siblings = siblings
        self._text = text
        self._digest = digest

    @classmethod
    def of(cls, info: NamespaceInfo, log: ValueLog, reader: PageReader, siblings: Siblings | None) -> Everywhere | None:
        """That of a registered namespace; None if the store is not shared."""
        if siblings is None:
            return None
        siblings.note_space(info.digest, info.number.to_bytes(4, "big"))
        return cls(log, reader, siblings, canonical(info.fields, info.page_bytes), info.digest)

    def add_siblings(
        self, keys: Sequence[bytes], there: NDArray[np.bool_], *, putting: bool = False, touch: int | None = None
    ) -> NDArray[np.bool_]:
        """``there`` (which pages are here), with those at a sibling added; ``putting``: which of them need not be stored.

        ``touch``: tell the siblings that a call of this kind used what was found at them, up to the first that is nowhere.

        I/O: a look at siblings if a page is not here.
        """
        if putting:
            self._siblings.hear(self._log.touch)
        if not there.all() and not (putting and self._siblings.sharing.store_held):
            missing = np.flatnonzero(~there).tolist()
            found = self._siblings.contains(self._text, [keys[i][4:] for i in missing], putting=putting)
            there[missing] = found
            if touch is not None:
                stop = len(keys) if there.all() else int(there.argmin())
                used = [keys[i][4:] for i, here in zip(missing, found.tolist(), strict=True) if here and (putting or i < stop)]
                self._siblings.touch(touch, self._digest, used)
        return there

    def get_into(
        self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], copied: list[int] | None = None
    ) -> list[bool]:
        """Fill each target with the page of its key; False: nobody delivered it (contents then undefined).

        ``copied``: as of PageReader.get_into. I/O: as that, then as :meth:`Siblings.get_into` for what is not here.
        """
        delivered = self._with_siblings(self._reader.read(keys, targets, copied), keys, targets)
        self.count(delivered, sum(map(len, targets[0])) if targets else 0)
        return delivered

    def at_once(self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], when: When) -> Found:
        """What the caller's own thread finds by a deadline; what is not here may be at a sibling."""
        found = self._reader.at_once(keys, targets, when)
        return found if all(found.verdicts) else Found([verdict or None for verdict in found.verdicts], found.copied)

    def fetcher(self, page_bytes: int) -> SharedFetcher | None:
        """What brings its own pages and those of siblings in time without a copy; None where its own cannot be brought so."""
        own = self._reader.fetcher(page_bytes)
        return None if own is None else SharedFetcher(own, self._siblings, self._text, page_bytes, self._digest)

    knows_all = False
    """A page that its own index does not know may be at a sibling."""

    def deliver(self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]]) -> list[bool]:
        """As :meth:`get_into`, without counting: what is delivered here may come too late for its caller."""
        return self._with_siblings(self._reader.deliver(keys, targets), keys, targets)

    def _with_siblings(
        self, delivered: list[bool], keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]]
    ) -> list[bool]:  # fmt: skip
        """What was delivered here, and what siblings deliver of the rest."""
        missing = [i for i, here in enumerate(delivered) if not here]
        if missing:
            wanted = [keys[i][4:] for i in missing]
            size = sum(map(len, targets[0]))
            found = self._siblings.get_into(self._text, wanted, [targets[i] for i in missing], size)
            for i, here in zip(missing, found, strict=True):
                delivered[i] = here
            self._siblings.touch(READ, self._digest, [key for key, here in zip(wanted, found, strict=True) if here])
        return delivered

    def prefetch(self, keys: Sequence[bytes]) -> None:
        """Have the kernel read these pages ahead, wherever they are. I/O: index lookups; hints."""
        self._reader.prefetch(keys)
        self._siblings.prefetch(self._text, [key[4:] for key in keys])

    def defer(self, keys: Sequence[bytes], losses: Sequence[Loss]) -> list[bool]:
        """Losses of pages that a sibling may have had; which are counted later. I/O: none."""
        return self._siblings.defer(self._text, [key[4:] for key in keys], losses)

    def count(self, delivered: Sequence[bool], page_bytes: int) -> None:
        """Add one call's pages to the counters of the store."""
        self._reader.count(delivered, page_bytes)
