"""One change of the tree, and its bytes: what the manifest records.

Payload of an edit (little-endian; a snapshot is the edit that leads from nothing to a state)::

    present u32 | added u32 | removed u32 | policy bytes u32
    wal_floor u64 | next_file u64 | last_seq u64 | next_run u64 | arrivals count u64 | arrivals entries u64
    policy, UTF-8 JSON
    removed file numbers, u64 each
    added tables as 12 columns of u64: level, run, number, bytes, entries, tombstones, min_seq, max_seq, raw_bytes,
      filter_bits, length of smallest key, length of largest key
    smallest keys end to end | largest keys end to end

``present`` has one bit per optional field in the order of the second line (both arrivals share bit 4), bit 5 for the policy.
Columns, because opening reads all tables at once: 1,000 tables take a few milliseconds, nearly all of it the records.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from lsmkv.errors import CorruptionError
from lsmkv.version.shape import TableMeta

__all__ = ["Added", "VersionEdit", "decode", "encode"]

Added = tuple[int, int, TableMeta]
"""(level, run id, table)."""

_HEAD = struct.Struct("<IIII6Q")
_COLUMNS = 12


@dataclass(frozen=True, slots=True)
class VersionEdit:
    """What changes; a field left None stays as it is.

    A table that is both removed and added moves. Removals take effect before additions.
    """

    added: tuple[Added, ...] = ()
    removed: tuple[int, ...] = ()
    """File numbers."""
    wal_floor: int | None = None
    """Logs with smaller numbers hold nothing that is not in tables."""
    next_file: int | None = None
    last_seq: int | None = None
    next_run: int | None = None
    policy: dict[str, object] | None = None
    arrivals: tuple[int, int] | None = None
    """(how many arrivals level 1 has seen, their entries)."""

    def encode(self) -> bytes:
        """See :func:`encode`."""
        return encode(self)


def encode(edit: VersionEdit) -> bytes:
    """The payload of one manifest frame."""
    numbers = (edit.wal_floor, edit.next_file, edit.last_seq, edit.next_run)
    present = sum(1 << i for i, value in enumerate(numbers) if value is not None)
    arrivals = edit.arrivals if edit.arrivals is not None else (0, 0)
    policy = b"" if edit.policy is None else json.dumps(edit.policy, separators=(",", ":")).encode()
    present |= (edit.arrivals is not None) << 4 | (edit.policy is not None) << 5
    head = _HEAD.pack(present, len(edit.added), len(edit.removed), len(policy), *(v or 0 for v in numbers), *arrivals)
    rows = [
        (
            level,
            run,
            t.number,
            t.bytes,
            t.entries,
            t.tombstones,
            t.min_seq,
            t.max_seq,
            t.raw_bytes,
            t.filter_bits,
            len(t.smallest),
            len(t.largest),
        )
        for level, run, t in edit.added
    ]
    columns = np.array(rows, "<u8").T.tobytes()
    keys = b"".join([t.smallest for *_, t in edit.added]) + b"".join([t.largest for *_, t in edit.added])
    return b"".join([head, policy, np.array(edit.removed, "<u8").tobytes(), columns, keys])


def decode(data: bytes, path: str, offset: int) -> VersionEdit:
    """The edit of a payload whose checksum held; ``path`` and ``offset`` name it in errors.

    Raises CorruptionError when sizes do not add up; nothing is allocated before they do.
    """
    if len(data) < _HEAD.size:
        raise CorruptionError(path, offset, f"an edit of {len(data)} bytes is shorter than its head")
    present, added, removed, policy_bytes, *numbers = _HEAD.unpack_from(data)
    at_removed = _HEAD.size + policy_bytes
    at_columns = at_removed + 8 * removed
    at_keys = at_columns + 8 * _COLUMNS * added
    if present >> 6 or at_keys > len(data):
        raise CorruptionError(path, offset, f"an edit of {len(data)} bytes cannot hold {added} tables and {removed} removals")
    policy = _policy(data[_HEAD.size : at_removed], path, offset) if present >> 5 & 1 else None
    gone = np.frombuffer(data, "<u8", removed, at_removed).tolist()
    columns = np.frombuffer(data, "<u8", _COLUMNS * added, at_columns).reshape(_COLUMNS, added).tolist()
    ends = list(accumulate([*columns[10], *columns[11]], initial=at_keys))
    if ends[-1] != len(data):
        raise CorruptionError(path, offset, f"an edit's keys end at byte {ends[-1]} of {len(data)}")
    keys = [data[a:b] for a, b in pairwise(ends)]
    tables = map(_table, *columns[2:6], keys[:added], keys[added:], *columns[6:10])
    optional = [value if present >> i & 1 else None for i, value in enumerate(numbers[:4])]
    return VersionEdit(
        added=tuple(zip(columns[0], columns[1], tables, strict=True)),
        removed=tuple(gone),
        wal_floor=optional[0],
        next_file=optional[1],
        last_seq=optional[2],
        next_run=optional[3],
        policy=policy,
        arrivals=(numbers[4], numbers[5]) if present >> 4 & 1 else None,
    )


_table = TableMeta  # its fields are in the order in which decode() lays out the columns


def _policy(data: bytes, path: str, offset: int) -> dict[str, object]:
    """The JSON object of a policy; CorruptionError if it is none."""
    try:
        policy = json.loads(data)
    except ValueError as error:
        raise CorruptionError(path, offset, f"the policy of an edit is not JSON: {error}") from error
    if not isinstance(policy, dict):
        raise CorruptionError(path, offset, f"the policy of an edit is {policy!r}, not an object")
    return policy
