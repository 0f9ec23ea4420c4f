"""Recent writes in memory, ordered lazily."""

from lsmkv.memtable.memtable import ENTRY_OVERHEAD_BYTES, Memtable
from lsmkv.memtable.new import new_memtable

__all__ = ["ENTRY_OVERHEAD_BYTES", "Memtable", "new_memtable"]
