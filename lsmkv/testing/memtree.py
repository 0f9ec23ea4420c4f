"""The names of the in-memory disk: directories as seen now, as durable, and the changes between.

Creating, renaming, linking and removing change what everybody sees at once and what is durable only when the directory is
synced. A rename is one change of two names: it is durable in both directories or in neither. A power cut keeps a random
subset of the unsynced changes, closed so that of one name no later change survives without the earlier ones.
"""

from __future__ import annotations

import errno
import posixpath
from typing import TypeAlias

from lsmkv.env.rng import Rng
from lsmkv.testing.memdata import Blocks, MemoryData, draw_survival

__all__ = ["Directory", "Node", "Tree", "os_error"]


class Directory:
    """Names to nodes: ``entries`` as seen, ``durable`` as a power cut leaves them."""

    __slots__ = ("durable", "entries")

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}


Node: TypeAlias = MemoryData | Directory
_Change: TypeAlias = tuple[Directory, str, Node | None]


def os_error(code: int, path: str) -> OSError:
    """The error the operating system would give (OSError picks the subclass, FileNotFoundError and so on)."""
    return OSError(code, errno.errorcode.get(code, "error"), path)


class Tree:
    """A tree of directories with a log of changes that are not durable yet."""

    __slots__ = ("_pending", "root")

    def __init__(self) -> None:
        """An empty root directory."""
        self.root = Directory()
        self._pending: list[tuple[_Change, ...]] = []

    def find(self, path: str) -> Node | None:
        """What has this name, or None."""
        node: Node = self.root
        for name in _parts(path):
            if not isinstance(node, Directory) or name not in node.entries:
                return None
            node = node.entries[name]
        return node

    def file(self, path: str) -> MemoryData:
        """The file of this name; FileNotFoundError or IsADirectoryError."""
        node = self.find(path)
        if isinstance(node, MemoryData):
            return node
        raise os_error(self._missing(path) if node is None else errno.EISDIR, path)

    def directory(self, path: str) -> Directory:
        """The directory of this name; FileNotFoundError or NotADirectoryError."""
        node = self.find(path)
        if isinstance(node, Directory):
            return node
        raise os_error(self._missing(path) if node is None else errno.ENOTDIR, path)

    def _missing(self, path: str) -> int:
        """Why nothing has this name: there is no such name, or a file stands where a directory should."""
        parts = _parts(path)
        above = ("/".join(parts[:i]) for i in range(len(parts)))
        return errno.ENOTDIR if any(isinstance(self.find(p), MemoryData) for p in above) else errno.ENOENT

    def place(self, path: str) -> tuple[Directory, str]:
        """The directory a name stands in, and the name; FileNotFoundError if there is no such directory."""
        parts = _parts(path)
        if not parts:
            raise os_error(errno.EBUSY, path)
        return self.directory("/" + "/".join(parts[:-1])), parts[-1]

    def change(self, *changes: _Change) -> None:
        """Set or remove names, together."""
        for directory, name, node in changes:
            before = directory.entries.pop(name, None)
            if isinstance(node, MemoryData):
                node.links += 1
            if node is not None:
                directory.entries[name] = node
            if isinstance(before, MemoryData):
                before.links -= 1
                before.release()
        self._pending.append(changes)

    def sync(self, directory: Directory) -> None:
        """Make the names in a directory durable, with what their changes need elsewhere."""
        chosen = [any(where is directory for where, _, _ in changes) for changes in self._pending]
        chosen = _close(self._pending, chosen)
        for changes, now in zip(self._pending, chosen, strict=True):
            if now:
                for where, name, node in changes:
                    _set(where.durable, name, node)
        self._pending = [changes for changes, now in zip(self._pending, chosen, strict=True) if not now]

    def after_crash(self, disk: Blocks, rng: Rng | None) -> Tree:
        """What a power cut leaves: without ``rng`` exactly the synced names."""
        names: dict[Directory, dict[str, Node]] = {}
        if rng is not None:
            chance = draw_survival(rng)
            chosen = _close(self._pending, [rng.random() < chance for _ in self._pending])
            for changes, now in zip(self._pending, chosen, strict=True):
                if now:
                    for where, name, node in changes:
                        _set(names.setdefault(where, dict(where.durable)), name, node)
        tree = Tree()
        copies: dict[MemoryData, MemoryData] = {}  # hard links stay links to one file
        todo = [(self.root, tree.root)]
        while todo:
            old, new = todo.pop()
            for name, node in sorted(names.get(old, old.durable).items()):
                copy: Node
                if isinstance(node, Directory):
                    inner = copy = Directory()
                    todo.append((node, inner))
                else:
                    if node not in copies:
                        copies[node] = node.after_crash(disk, rng)
                    copies[node].links += 1
                    copy = copies[node]
                new.entries[name] = new.durable[name] = copy
        return tree

    def files(self, prefix: str) -> list[MemoryData]:
        """Every file whose path begins with ``prefix``, each once."""
        found: dict[MemoryData, None] = {}
        todo: list[tuple[str, Directory]] = [("", self.root)]
        while todo:
            where, directory = todo.pop()
            for name, node in directory.entries.items():
                path = f"{where}/{name}"
                if isinstance(node, Directory):
                    todo.append((path, node))
                elif path.startswith(prefix):
                    found[node] = None
        return list(found)


def _parts(path: str) -> list[str]:
    """The names of a path from the root; relative paths begin there too."""
    return [part for part in posixpath.normpath(posixpath.join("/", path)).split("/") if part]


def _set(entries: dict[str, Node], name: str, node: Node | None) -> None:
    """Set a name, or remove it (None)."""
    entries.pop(name, None)
    if node is not None:
        entries[name] = node


def _close(pending: list[tuple[_Change, ...]], chosen: list[bool]) -> list[bool]:
    """Add to the chosen changes every earlier one of the same names."""
    needed: set[tuple[int, str]] = set()
    out = list(chosen)
    for i in range(len(pending) - 1, -1, -1):
        names = {(id(where), name) for where, name, _ in pending[i]}
        out[i] = out[i] or not names.isdisjoint(needed)
        if out[i]:
            needed |= names
    return out
