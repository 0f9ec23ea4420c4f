"""One change of the tree, and its bytes: what the manifest records.

Payload of an edit (little-endian; a snapshot is the edit that leads from nothing to a state)::

    present u32 | added u32 | removed u32 | policy bytes u32
    wal_floor u64 | next_file u64 | last_seq u64 | next_run u64 | arrivals count u64 | arrivals entries u64
    transition bytes u32 | ledger bytes u32
    range deletes bytes u32 | range deletes u32
    policy, transition, ledger, each UTF-8 JSON | range deletes (:mod:`lsmkv.version.rangebytes`)
    removed file numbers, u64 each
    added tables as 12 columns of u64: level, run, number, bytes, entries, tombstones, min_seq, max_seq, raw_bytes,
      filter_bits, length of smallest key, length of largest key
    and 3 columns of f64: born_s, newest_s, tombstone_s, and two of u64: shadowed, swept
    smallest keys end to end | largest keys end to end

``present`` has one bit per optional field in the order of the second line (both arrivals share bit 4), bits 5 to 7 for the
policy, the transition and the ledger. Bit 8 says that the third line and 4 of the last 5 columns are there: version 1 of the
format had neither. Bit 9 says the same of the fourth line and the last column, which version 2 had not; bit 10 is for the
range deletes. Columns, because opening reads all tables at once: 1,000 tables take a few milliseconds, nearly all of it the
records.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from lsmkv.errors import CorruptionError
from lsmkv.version.rangebytes import decode_ranges, encode_ranges
from lsmkv.version.rangedeletes import NO_RANGES, RangeDeletes
from lsmkv.version.shape import TableMeta

__all__ = ["Added", "VersionEdit", "decode", "encode"]

Added = tuple[int, int, TableMeta]
"""(level, run id, table)."""

_HEAD = struct.Struct("<IIII6Q")
_MORE = struct.Struct("<II")
_COLUMNS, _TIMES, _LATER, _LATEST = 12, 3, 4, 5
_EXTENDED, _WITH_RANGES = 1 << 8, 1 << 9
_RANGES_GIVEN = 10
_SECTIONS = ("policy", "transition", "ledger")


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
    transition: dict[str, object] | None = None
    """The report of a change of policy; empty: there is none any more."""
    ledger: dict[str, object] | None = None
    """Counts since the store was created."""
    ranges: RangeDeletes | None = None
    """All range deletes there are from now on."""

    def encode(self) -> bytes:
        """See :func:`encode`."""
        return encode(self)


def encode(edit: VersionEdit) -> bytes:
    """The payload of one manifest frame."""
    numbers = (edit.wal_floor, edit.next_file, edit.last_seq, edit.next_run)
    sections = (edit.policy, edit.transition, edit.ledger)
    given = (*numbers, edit.arrivals, *sections)
    present = _EXTENDED | _WITH_RANGES | sum(1 << i for i, value in enumerate(given) if value is not None)
    present |= (edit.ranges is not None) << _RANGES_GIVEN
    ranges = edit.ranges if edit.ranges is not None else NO_RANGES
    section = encode_ranges(ranges)
    arrivals = edit.arrivals if edit.arrivals is not None else (0, 0)
    texts = [b"" if one is None else json.dumps(one, separators=(",", ":")).encode() for one in sections]
    head = _HEAD.pack(present, len(edit.added), len(edit.removed), len(texts[0]), *(v or 0 for v in numbers), *arrivals)
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
    times = np.array([(t.born_s, t.newest_s, t.tombstone_s) for *_, t in edit.added], "<f8").T.tobytes()
    later = np.array([(t.shadowed, t.swept) for *_, t in edit.added], "<u8").T.tobytes()
    keys = [t.smallest for *_, t in edit.added] + [t.largest for *_, t in edit.added]
    more = _MORE.pack(len(texts[1]), len(texts[2])) + _MORE.pack(len(section), len(ranges.fragments))
    gone = np.array(edit.removed, "<u8").tobytes()
    return b"".join([head, more, *texts, section, gone, columns, times, later, *keys])


def decode(data: bytes, path: str, offset: int) -> VersionEdit:
    """The edit of a payload whose checksum held; ``path`` and ``offset`` name it in errors.

    Raises CorruptionError when sizes do not add up; nothing is allocated before they do.
    """
    if len(data) < _HEAD.size:
        raise CorruptionError(path, offset, f"an edit of {len(data)} bytes is shorter than its head")
    present, added, removed, policy_bytes, *numbers = _HEAD.unpack_from(data)
    at, lengths, later, fragments = _HEAD.size, [policy_bytes, 0, 0, 0], 0, 0
    if present & _EXTENDED and len(data) >= at + _MORE.size:
        lengths[1:3], later = _MORE.unpack_from(data, at), _LATER
        at += _MORE.size
        if present & _WITH_RANGES and len(data) >= at + _MORE.size:
            (lengths[3], fragments), later = _MORE.unpack_from(data, at), _LATEST
            at += _MORE.size
    starts = list(accumulate(lengths, initial=at))
    at_columns = starts[-1] + 8 * removed
    at_times = at_columns + 8 * _COLUMNS * added
    at_keys = at_times + 8 * later * added
    if later != _later_columns(present) or at_keys > len(data):
        raise CorruptionError(path, offset, f"an edit of {len(data)} bytes cannot hold {added} tables and {removed} removals")
    sections = [
        _section(name, data[a:b], path, offset) if present >> bit & 1 else None
        for name, bit, (a, b) in zip(_SECTIONS, (5, 6, 7), pairwise(starts[:4]), strict=True)
    ]
    ranges = decode_ranges(data[starts[3] : starts[4]], fragments, path, offset) if later == _LATEST else NO_RANGES
    gone = np.frombuffer(data, "<u8", removed, starts[-1]).tolist()
    columns = np.frombuffer(data, "<u8", _COLUMNS * added, at_columns).reshape(_COLUMNS, added).tolist()
    ages = np.frombuffer(data, "<f8", _TIMES * added, at_times).reshape(_TIMES, added).tolist() if later else []
    if later:
        counts = later - _TIMES
        ages += np.frombuffer(data, "<u8", counts * added, at_keys - 8 * counts * added).reshape(counts, added).tolist()
    ends = list(accumulate([*columns[10], *columns[11]], initial=at_keys))
    if ends[-1] != len(data):
        raise CorruptionError(path, offset, f"an edit's keys end at byte {ends[-1]} of {len(data)}")
    keys = [data[a:b] for a, b in pairwise(ends)]
    tables = map(_table, *columns[2:6], keys[:added], keys[added:], *columns[6:10], *ages)
    optional = [value if present >> i & 1 else None for i, value in enumerate(numbers[:4])]
    return VersionEdit(
        added=tuple(zip(columns[0], columns[1], tables, strict=True)),
        removed=tuple(gone),
        wal_floor=optional[0],
        next_file=optional[1],
        last_seq=optional[2],
        next_run=optional[3],
        policy=sections[0],
        arrivals=(numbers[4], numbers[5]) if present >> 4 & 1 else None,
        transition=sections[1],
        ledger=sections[2],
        ranges=ranges if present >> _RANGES_GIVEN & 1 else None,
    )


def _later_columns(present: int) -> int:
    """How many columns an edit has beside the first 12, by its bits; -1 for bits that no version gives."""
    if present >> (_RANGES_GIVEN + 1):
        return -1
    if not present & _EXTENDED:
        return -1 if present >> 9 else 0
    if not present & _WITH_RANGES:
        return -1 if present >> _RANGES_GIVEN else _LATER
    return _LATEST


_table = TableMeta  # its fields are in the order in which decode() lays out the columns


def _section(name: str, data: bytes, path: str, offset: int) -> dict[str, object]:
    """The JSON object of a section; CorruptionError if it is none."""
    try:
        section = json.loads(data)
    except ValueError as error:
        raise CorruptionError(path, offset, f"the {name} of an edit is not JSON: {error}") from error
    if not isinstance(section, dict):
        raise CorruptionError(path, offset, f"the {name} of an edit is {section!r}, not an object")
    return section
