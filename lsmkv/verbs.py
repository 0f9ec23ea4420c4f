"""Calls of an open store that are rare: what its owner does to it now and then. :class:`lsmkv.DB` is one of these.

They stand apart from :mod:`lsmkv.db` for its size only.
"""

from __future__ import annotations

from lsmkv.env.gate import CallGate
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.options import Options

__all__ = ["OwnerCalls"]


class OwnerCalls:
    """What an owner does to an open store now and then."""

    __slots__ = ()

    _calls: CallGate
    _upkeep: Upkeep

    def set_options(self, **changes: object) -> Options:
        """Change options while the store is in use: ``db.set_options(memtable_bytes=64 << 20)``; those now in force.

        All of them or, if one cannot be, none: InvalidArgumentError names an unknown field (and what it may have meant), one
        that is fixed while the store is open, or a value out of range. Each field of :class:`lsmkv.Options` says whether it can
        change; a policy changes by ``set_policy``. Nothing is recorded: the next opening takes the options it is given.

        I/O: none.
        """
        with self._calls:
            return self._upkeep.set_options(changes)
