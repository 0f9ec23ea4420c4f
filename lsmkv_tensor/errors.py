"""Errors of the tensor package: the engine's tree (:mod:`lsmkv.errors`) and what it adds below the same root.

::

    LsmError
    |-- ... everything in lsmkv.errors, re-exported here ...
    |-- InvalidArgumentError
    |   `-- UnsupportedCacheError             an engine's KV cache of a kind that pages cannot hold
    `-- NamespaceMismatchError(name, fields)  this namespace name belongs to pages of another format
"""

from __future__ import annotations

from lsmkv.errors import (
    BusyError,
    ClosedError,
    CorruptionError,
    FormatTooNewError,
    InvalidArgumentError,
    IOFailedError,
    LockedError,
    LsmError,
    NoSpaceError,
    PoisonedError,
    ReadOnlyError,
    io_failed,
)

__all__ = [
    "BusyError",
    "ClosedError",
    "CorruptionError",
    "FormatTooNewError",
    "IOFailedError",
    "InvalidArgumentError",
    "LockedError",
    "LsmError",
    "NamespaceMismatchError",
    "NoSpaceError",
    "PoisonedError",
    "ReadOnlyError",
    "UnsupportedCacheError",
    "io_failed",
]


class NamespaceMismatchError(LsmError):
    """A namespace name was registered with other fields: its pages mean something else.

    Attributes: ``name``, ``fields`` (the differing fields, each with the stored and the asked value).
    """

    def __init__(self, name: str, fields: dict[str, tuple[object, object]]) -> None:
        """Name the namespace and every field that differs."""
        told = ", ".join(f"{k}: stored {a!r}, asked {b!r}" for k, (a, b) in sorted(fields.items()))
        super().__init__(f"namespace {name!r} holds pages of another format ({told}): choose another name or store")
        self.name = name
        self.fields = fields


class UnsupportedCacheError(InvalidArgumentError):
    """An engine's KV cache is of a kind that pages cannot hold; the message says which part of it."""
