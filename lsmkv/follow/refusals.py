"""What a follower is asked for and cannot do."""

from __future__ import annotations

from typing import NoReturn

from lsmkv.errors import ReadOnlyError

__all__ = ["WRITES", "refuse"]

WRITES = frozenset(
    {
        "batch",
        "checkpoint",
        "compact",
        "delete",
        "delete_many",
        "delete_range",
        "flush",
        "load_sorted",
        "pending",
        "put",
        "put_many",
        "set_options",
        "set_policy",
        "settle",
        "step",
        "sync",
        "write",
    }
)
"""Methods of a writer; asked of a follower they raise ReadOnlyError."""


def refuse(path: str, name: str, *_: object, **__: object) -> NoReturn:
    """Say that a follower cannot do this."""
    raise ReadOnlyError(path, name)
