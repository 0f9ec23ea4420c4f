"""Table files that the manifest does not name: what a crash left behind, or what an old manifest does not know.

Opening removes the first kind and must not touch the second. What a crash leaves, and the sequence numbers it can hold:

- *The output of a compaction.* Its inputs are named by the manifest, durably: ``max_seq`` is at most the newest number in
  the named tables.
- *A replaced input*, not unlinked yet: the edit that replaced it is durable, so its numbers are known to the manifest too.
- *The output of a flush, or of the replay at opening, without its edit.* Its entries follow all that is in tables
  (``min_seq`` above ``last_seq``) and were in a log: the oldest one at or above the manifest's floor, since memtables are
  flushed in order. That log is still there: its name is made durable before a table is begun, and it is removed only
  after the edit. Its *contents* may be gone (nobody asked for a sync), so ``max_seq`` may be above everything that the logs
  still give; these commits were never acknowledged as durable, and go.
- *Anything begun before the manifest's last edit*, and not named by it (its number is below ``next_file``): it was being
  written then. An edit draws a number above all that were drawn before it.
- *A file that is no table*: it was never finished.

So a readable table is a leftover if ``max_seq`` is accounted for, by named tables or logs; or if its number is below
``next_file``; or if ``min_seq`` lies above ``last_seq`` and its log is there. No crash explains any other: an old manifest was
put back, or logs were taken away. (A manifest copied while the store was open may miss a table that was being written at that
moment: that one looks like a leftover.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from posixpath import join

from lsmkv.base.counters import Counters
from lsmkv.base.frames import parse_file_header, read_whole, scan
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError, IOFailedError
from lsmkv.sstable.reader import TableReader
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState
from lsmkv.wal.batch import WalBatch, decode_batch
from lsmkv.wal.writer import MAGIC, VERSION

__all__ = ["unexplained"]


def unexplained(
    fs: FileSystem, path: str, state: ManifestState, tables: Iterable[int], logs: Sequence[int], batches: Sequence[WalBatch]
) -> list[Problem]:
    """Those of the unnamed ``tables`` that no crash explains.

    ``logs``: numbers of the logs at or above the floor, ascending; ``batches``: what they give. Raises FormatTooNewError,
    IOFailedError. I/O: the end of each table; the oldest log, if one of the tables needs it.
    """
    known = max([state.last_seq, *(t.max_seq for t in state.shape.tables), *(b.first_seq + len(b.keys) - 1 for b in batches)])
    found: list[Problem] = []
    for number in sorted(tables):
        file = join(path, f"{number:06d}.sst")
        table = _says(fs, file, number) if number >= state.next_file else None
        if table is None or table.max_seq <= known:
            continue
        if table.min_seq > state.last_seq and logs and _may_be_in(fs, path, logs[0], state.wal_floor, table):
            continue
        what = (
            f"no crash explains this table: it holds entries up to sequence number {table.max_seq}, the manifest and the logs "
            f"know of {known}. An old MANIFEST was put back, or logs were removed (lsmkv.repair takes the table in)"
        )
        found.append(Problem(file, -1, what))
    return found


def _says(fs: FileSystem, file: str, number: int) -> TableMeta | None:
    """What a table says of itself; None if it is none, or not the one of this name."""
    try:
        if not fs.size(file):  # nor is a pipe of this name opened: that would wait for somebody to write
            return None
        reader = TableReader(fs, file, number, None, Counters())
    except (CorruptionError, FileNotFoundError):
        return None
    except IOFailedError:
        if fs.exists(file):
            raise
        return None  # beside a live writer: it was finished, or given up
    meta = reader.properties.meta
    reader.close()
    return meta


def _may_be_in(fs: FileSystem, path: str, number: int, floor: int, table: TableMeta) -> bool:
    """Whether the oldest log (``number``) can be the one whose entries were flushed into ``table``.

    It was begun before; it is the oldest, so the log it follows is below the floor; and it does not begin behind the table. A
    log whose header or frames were lost may be anything.
    """
    if number >= table.number:
        return False
    log = join(path, f"{number:06d}.wal")
    data = read_whole(fs, log)
    try:
        header = parse_file_header(data, log, MAGIC, VERSION)
        if header.previous is not None and header.previous[0] >= floor:
            return False
        frames = scan(data, number).frames
        return not frames or decode_batch(frames[0], log).first_seq <= table.min_seq
    except CorruptionError:
        return True
