"""What the command knows about files and directories, and where other packages add to it.

A distribution adds kinds of files, kinds of stores and commands of its own through the entry-point group
``lsmkv.commands``: each entry point is a function that takes a :class:`Tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, TypeAlias

import typer

from lsmkv.env.fs import FileSystem
from lsmkv.errors import InvalidArgumentError
from lsmkv.observe.verify import VerifyReport

__all__ = ["FileKind", "Record", "StoreKind", "Tools"]

Record: TypeAlias = Mapping[str, object]
"""One record of a dump; values are numbers, strings, bytes or lists of them."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file that can be dumped."""

    name: str
    """A noun: ``table``."""
    matches: Callable[[FileSystem, str], bool]
    """Whether the file at a path is of this kind, judged by name and first bytes."""
    records: Callable[[FileSystem, str], Iterator[Record]]
    """Its records in file order; raises LsmError where it is damaged."""


class Recount(Protocol):
    """Counts again what a store keeps count of."""

    def __call__(self, fs: FileSystem, path: str, *, repair: bool) -> Mapping[str, object]:
        """``wrong``: the records that differ, ``repaired``: whether they were put right."""
        ...


@dataclass(frozen=True, slots=True)
class StoreKind:
    """A kind of store directory."""

    name: str
    """A noun phrase: ``engine``, ``page store``."""
    matches: Callable[[FileSystem, str], bool]
    engine_path: Callable[[str], str]
    """The directory of the LSM-tree inside the store."""
    report: Callable[[FileSystem, str], Record]
    """What ``stats`` says."""
    verify: Callable[[FileSystem, str], VerifyReport]
    checkpoint: Callable[[str, str], None] | None
    """Write a copy of the store at the first path to the second; None where that does not exist."""
    recount: Recount | None = None
    """What ``verify --liveness`` says; None where nothing is counted."""
    parts: Callable[[FileSystem, str], list[str]] | None = None
    """The stores inside, by their paths, each with a tree of its own; None where the store has one itself."""

    def refuse(self, fs: FileSystem, path: str, why: str) -> NoReturn:
        """InvalidArgumentError: what was asked is not for this kind of store; names the stores inside. I/O: a listing."""
        if self.parts is None:
            raise InvalidArgumentError(f"{path} is a store of the {self.name}: {why}")
        inside = ", ".join(self.parts(fs, path))
        raise InvalidArgumentError(f"{path} is a {self.name}: name one of them ({inside})")


@dataclass(slots=True)
class Tools:
    """The command and everything it can look at."""

    app: typer.Typer
    fs: FileSystem
    """A view that changes nothing."""
    files: list[FileKind] = field(default_factory=list)
    stores: list[StoreKind] = field(default_factory=list)

    def store_kind(self, path: str) -> StoreKind:
        """The kind of the store at ``path``; InvalidArgumentError where there is none. I/O: some stats."""
        if not self.fs.exists(path):
            msg = f"{path} does not exist"
            raise InvalidArgumentError(msg)
        if not self.fs.isdir(path):
            msg = f"{path} is a file: a store is a directory (`lsmkv dump` looks into single files)"
            raise InvalidArgumentError(msg)
        kind = self.kind_at(path)
        if kind is None:
            msg = f"{path} holds no lsmkv store (no MANIFEST there)"
            raise InvalidArgumentError(msg)
        return kind

    def kind_at(self, path: str) -> StoreKind | None:
        """The kind of the store at ``path``, None where there is none. I/O: some stats."""
        if not self.fs.exists(path) or not self.fs.isdir(path):
            return None
        return next((kind for kind in self.stores if kind.matches(self.fs, path)), None)

    def refuse_all_but_trees(self, path: str, command: str) -> None:
        """InvalidArgumentError for a store at ``path`` that is more than a tree, and that ``command`` does not exist for."""
        kind = self.kind_at(path)
        if kind is not None and kind.checkpoint is None:
            msg = f"{path} is a {kind.name}: {command} exists for the engine alone (its files are in {kind.engine_path(path)})"
            raise InvalidArgumentError(msg)

    def file_kind(self, path: str) -> FileKind:
        """The kind of the file at ``path``; InvalidArgumentError where it is none of ours. I/O: reads its first bytes."""
        if not self.fs.exists(path):
            msg = f"{path} does not exist"
            raise InvalidArgumentError(msg)
        if self.fs.isdir(path):
            msg = f"{path} is a directory: name one file in it"
            raise InvalidArgumentError(msg)
        for kind in self.files:
            if kind.matches(self.fs, path):
                return kind
        names = ", ".join(kind.name for kind in self.files)
        msg = f"{path} is none of the files this command knows ({names})"
        raise InvalidArgumentError(msg)
