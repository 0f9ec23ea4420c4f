"""Calls of an open store that are rare: what its owner does to it now and then. :class:`lsmkv.DB` is one of these.

They stand apart from :mod:`lsmkv.db` for its size only.
"""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv.env.gate import CallGate
from lsmkv.maintain.load import LoadReport
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.options import Options

__all__ = ["OwnerCalls"]


class OwnerCalls:
    """What an owner does to an open store now and then."""

    __slots__ = ()

    _calls: CallGate
    _upkeep: Upkeep

    def load_sorted(self, pairs: Iterable[tuple[bytes, bytes]]) -> LoadReport:
        """Load many pairs whose keys ascend strictly, much faster than ``put_many``: tables are built from them directly.

        Any iterable; no more than a few MiB of it are held. All of it becomes visible and durable at once, on return, newer than
        every write before; snapshots taken earlier do not see it. Until then nothing of it is there, whatever happens.
        Raises InvalidArgumentError naming the position of a pair that is none or out of order, BusyError if another load is
        going on, ClosedError when the store closes meanwhile, NoSpaceError, IOFailedError, and what ``pairs`` raises.

        I/O: as ``flush``; the data written once; one manifest edit; level 0 merged if it meets the data and has no room.
        """
        with self._calls:
            return self._upkeep.load(pairs)

    def set_options(self, **changes: object) -> Options:
        """Change options while the store is in use: ``db.set_options(memtable_bytes=64 << 20)``; those now in force.

        All of them or, if one cannot be, none: InvalidArgumentError names an unknown field (and what it may have meant), one
        that is fixed while the store is open, or a value out of range. Each field of :class:`lsmkv.Options` says whether it can
        change; a policy changes by ``set_policy``. Nothing is recorded: the next opening takes the options it is given.

        I/O: none.
        """
        with self._calls:
            return self._upkeep.set_options(changes)
