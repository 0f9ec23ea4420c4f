"""What a repair found, did and could not save, as frozen records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from lsmkv.base.problem import Problem

__all__ = ["Loss", "ManifestFate", "Range", "RepairReport"]

Range: TypeAlias = tuple[bytes | None, bytes | None]
"""First and last key that may be concerned, both included; None: no bound is known on that side."""

ManifestFate: TypeAlias = Literal["kept", "edited", "rebuilt"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries that are gone. A key in one of the ranges may answer with an older value of its own, or not at all."""

    file: str
    what: str
    ranges: tuple[Range, ...]
    entries: int | None
    """How many, versions and deletions included; None: cannot be told."""

    def covers(self, key: bytes) -> bool:
        """Whether ``key`` may be concerned."""
        return any((low is None or low <= key) and (high is None or key <= high) for low, high in self.ranges)

    def __str__(self) -> str:
        """One line."""
        count = "an unknown number of" if self.entries is None else f"{self.entries:,}"
        parts = [f"{_bound(low, 'the first key')} to {_bound(high, 'the last key')}" for low, high in self.ranges]
        return f"{self.file}: {self.what}; {count} entries, keys from {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The outcome of a repair.

    Counts add up: ``tables_found == tables_sound + tables_salvaged + tables_dropped``, and ``entries`` (in the tables after
    it) ``== entries_sound + entries_salvaged + entries_replayed - entries_twice``.
    """

    path: str
    dry_run: bool
    """Nothing was changed: the rest says what a repair would do."""
    manifest: ManifestFate
    """"kept": it is as it was; "edited": its tree without what is lost; "rebuilt": made from the files alone."""
    found: tuple[Problem, ...]
    """What is wrong with the store; empty: it is healthy, and nothing was touched."""
    losses: tuple[Loss, ...]
    """What is gone for certain, or, in a file that is not whole, may be. A healthy store may have some, too: commits that were
    never acknowledged as durable, torn by a crash, which the next opening drops."""
    doubts: tuple[str, ...]
    """What cannot be told from the files that are left."""
    deleted_keys_may_return: bool
    """Deletions are among what is lost, or may be: a deleted key may answer with an older value of its own."""
    tables_found: int
    """Table files looked at: those the manifest names, or all if it was of no use."""
    tables_sound: int
    """Every byte checked out."""
    tables_salvaged: int
    """Written anew from the blocks of them that checked out."""
    tables_dropped: int
    """Nothing in them could be used."""
    tables_missing: int
    """Named by the manifest, but not there."""
    entries_sound: int
    entries_salvaged: int
    entries_replayed: int
    """Taken from logs into a table. Logs that opening can replay by itself are left to it."""
    entries_twice: int
    """Found in several files; kept once."""
    tables: int
    entries: int
    """Of the tree after the repair."""
    moved: tuple[str, ...]
    """Names of the files that were moved into the directory ``ASIDE``."""
    account: str = ""
    """Name of the file in ``ASIDE`` that holds this report; empty if nothing was changed."""

    @property
    def healthy(self) -> bool:
        """Nothing was wrong."""
        return not self.found

    @property
    def lossless(self) -> bool:
        """No entry is known to be lost and nothing is in doubt."""
        return not self.losses and not self.doubts

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON; keys are hexadecimal."""
        plain = asdict(self)
        plain["losses"] = [
            {**asdict(loss), "ranges": [[None if key is None else key.hex() for key in pair] for pair in loss.ranges]}
            for loss in self.losses
        ]
        return {"healthy": self.healthy, "lossless": self.lossless, **plain}


def _bound(key: bytes | None, unknown: str) -> str:
    """A key for people."""
    return unknown if key is None else repr(key[:40]) + ("..." if len(key) > 40 else "")
