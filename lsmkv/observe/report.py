"""What a store's files say about it, without opening it: the record behind ``lsmkv stats``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from lsmkv.base.ledger import Account
from lsmkv.cost.ledger import Measured, measure
from lsmkv.cost.seen import space_bound
from lsmkv.env.fs import FileSystem
from lsmkv.errors import InvalidArgumentError
from lsmkv.observe.files import list_files, load_manifest
from lsmkv.observe.picture import LevelRow, rows
from lsmkv.policy.registry import from_description
from lsmkv.version.state import ManifestState

__all__ = ["StoreReport", "survey"]


@dataclass(frozen=True, slots=True)
class StoreReport:
    """A store at rest, or the last installed version of one that is being written. Bytes are file bytes."""

    path: str
    policy: Mapping[str, object]
    last_seq: int
    """Last sequence number known to the manifest; logs may hold later ones."""
    levels: tuple[LevelRow, ...]
    tables: int
    entries: int
    """Entries in tables, tombstones and shadowed versions included; what is only in logs is not counted."""
    tombstones: int
    range_deletes: int
    """Fragments of the key space that range deletes cover and tables may still hold something of."""
    table_bytes: int
    raw_bytes: int
    """Keys and values before compression and without any bookkeeping."""
    filter_bytes: int
    space_amplification_at_most: float | None
    """At most so many entries are in tables per live one, by the shape alone; None: the shape cannot tell."""
    logs: int
    log_bytes: int
    manifest_bytes: int
    orphans: tuple[str, ...]
    """Files that no version names: leftovers that the next opening removes, or the work of a live writer."""
    event_bytes: int
    """The log of events."""
    bytes: int
    """Everything in the directory."""
    pending: str
    """Why the next compaction is due; empty when the tree is settled."""
    transition: Mapping[str, object]
    """The report of the last change of policy; empty: there was none."""
    cost: Measured
    """What operations cost since the store was created, as the manifest has it on record: up to the last clean close."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        cost = self.cost.to_dict()
        del cost["space_amplification"]  # known after a scan only
        return told | {"levels": [asdict(level) for level in self.levels], "cost": cost}


def survey(path: str, fs: FileSystem) -> StoreReport:
    """The report of the store at ``path``; takes no lock and changes nothing.

    InvalidArgumentError if there is no store, CorruptionError, FormatTooNewError, IOFailedError.

    I/O: reads the manifest, lists the directory.
    """
    state = load_manifest(fs, path)
    files = list_files(fs, path)
    shape = state.shape
    tables = shape.tables
    named = {t.number for t in tables}
    orphans = [f"{number:06d}.sst" for number in sorted(files.tables) if number not in named]
    orphans += [f"{number:06d}.wal" for number in sorted(files.logs) if number < state.wal_floor]
    return StoreReport(
        path=path,
        policy=state.policy,
        last_seq=state.last_seq,
        levels=rows(shape, state.policy),
        tables=len(tables),
        entries=shape.entries,
        tombstones=sum(t.tombstones for t in tables),
        range_deletes=len(shape.ranges.fragments),
        table_bytes=shape.bytes,
        raw_bytes=sum(t.raw_bytes for t in tables),
        filter_bytes=sum(t.filter_bits for t in tables) // 8,
        space_amplification_at_most=space_bound(shape),
        logs=sum(number >= state.wal_floor for number in files.logs),
        log_bytes=sum(size for number, size in files.logs.items() if number >= state.wal_floor),
        manifest_bytes=files.manifest_bytes,
        orphans=(*orphans, *files.temporaries),
        event_bytes=sum(files.events.values()),
        bytes=files.bytes,
        pending=_pending(state),
        transition=state.transition,
        cost=measure(Account.from_dict(state.ledger), shape),
    )


def _pending(state: ManifestState) -> str:
    """Why the recorded policy would compact."""
    try:
        task = from_description(state.policy).pick(state.shape)
    except InvalidArgumentError as error:  # a policy of another version: the files can be looked at all the same
        return f"unknown: {error}"
    return task.reason if task is not None else ""
