"""How tables and logs are called: ``{number:06d}.sst`` and ``{number:06d}.wal``. Nothing else in a directory is the store's.

Only exactly the name that the engine itself would give counts, so that a stray ``7.sst`` or ``notes.tmp`` of somebody else is
neither read nor removed.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

__all__ = ["ASIDE", "JOURNAL", "JOURNAL_FILES", "OLDER_JOURNAL", "FileName", "Kind", "parse_name"]

Kind = Literal["sst", "wal"]

ASIDE = "ASIDE"
"""Directory inside a store that holds what a repair moved aside. Nothing reads it and nothing but a repair writes there."""

JOURNAL, OLDER_JOURNAL = "CONTROLLER.jsonl", "CONTROLLER.1.jsonl"
JOURNAL_FILES = frozenset({JOURNAL, OLDER_JOURNAL})
"""Names that the controller's journal may have in a store's directory."""

_NAME = re.compile(r"([0-9]{6,18})\.(sst|wal)", re.ASCII)
"""At most 18 digits: numbers are recorded in 64 bits."""


class FileName(NamedTuple):
    """What the name of a table or log says."""

    number: int
    kind: Kind


def parse_name(name: str) -> FileName | None:
    """The number and kind in a file name (without its directory), None if the engine would not have given that name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number, kind = int(match[1]), cast("Kind", match[2])
    return FileName(number, kind) if name == f"{number:06d}.{kind}" else None
