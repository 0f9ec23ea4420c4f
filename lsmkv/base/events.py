"""The event log: one JSON line for every flush, compaction, switch and stall (format: docs/format/events.md).

For people, pictures and post-mortems; the store never reads it to decide anything. So it is not synced, a failure to write it
is counted and otherwise ignored, and it is bounded: at ``LIMIT_BYTES`` the file becomes the older half and a new one begins.
A line torn by a crash is skipped by readers; the next line begins on a line of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from posixpath import join

from lsmkv.env.clock import Clock
from lsmkv.env.fs import File, FileSystem, write_all
from lsmkv.env.sync import Lock

__all__ = ["EVENTS", "EVENT_FILES", "LIMIT_BYTES", "OLDER_EVENTS", "EventLog", "read_events", "tail_events"]

EVENTS = "EVENTS.jsonl"
OLDER_EVENTS = "EVENTS.1.jsonl"
EVENT_FILES = frozenset({EVENTS, OLDER_EVENTS})
"""Names the log may have in a store's directory."""

LIMIT_BYTES = 4 << 20
"""Size at which the log becomes the older half: about twenty thousand events, at most twice this on disk."""


TAIL_BYTES = 64 << 10
"""What is read of a file for its last events: some hundred of them."""


class EventLog:
    """Appends events to the log of one directory. Thread-safe; never raises, for the work it tells of is done."""

    __slots__ = ("_at", "_clock", "_directory", "_file", "_fs", "_limit", "_lock", "_names", "_torn", "failures")

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        clock: Clock,
        limit_bytes: int = LIMIT_BYTES,
        names: tuple[str, str] = (EVENTS, OLDER_EVENTS),
    ) -> None:
        """``names``: of the file, and of its older half."""
        self._names = names
        self._fs = fs
        self._directory = directory
        self._clock = clock
        self._limit = limit_bytes
        self._lock = Lock()
        self._file: File | None = None
        self._at = 0
        self._torn = False
        self.failures = 0
        """Events that could not be written."""

    def note(self, kind: str, fields: Callable[[], Mapping[str, object]]) -> None:
        """Append one event; ``fields`` is asked under the log's lock, so that lines and what they tell have one order.

        I/O: one write, not synced; the first one opens the file, one in twenty thousand renames it.
        """
        with self._lock:
            try:
                line = json.dumps({"at_s": round(self._clock.now(), 6), "kind": kind, **fields()}, separators=(",", ":"))
                data = line.encode() + b"\n"
                file = self._ready(len(data))
                if self._torn:
                    data = b"\n" + data
                write_all(file, [data], self._at)
            except (OSError, TypeError, ValueError):  # the last two: what somebody's policy says of itself is no JSON
                self.failures += 1
                return
            self._at += len(data)
            self._torn = False

    def _ready(self, size: int) -> File:
        """The file to append ``size`` bytes to, opened, begun or turned over as needed."""
        path = join(self._directory, self._names[0])
        file = self._file if self._file is not None else self._opened(path)
        if self._at and self._at + size > self._limit:
            self._file = None
            file.close()
            self._fs.rename(path, join(self._directory, self._names[1]))
            file = self._opened(path)
        return file

    def _opened(self, path: str) -> File:
        """The log, ready to go on where it ends."""
        if self._fs.exists(path):
            file = self._file = self._fs.open(path, "rw")
            self._at = file.size()
            self._torn = bool(self._at) and file.pread(1, self._at - 1) != b"\n"
        else:
            file = self._file = self._fs.open(path, "create")
            self._at, self._torn = 0, False
        return file

    def close(self) -> None:
        """Let go of the file; a later event opens it again."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()


def read_events(fs: FileSystem, directory: str, names: tuple[str, str] = (EVENTS, OLDER_EVENTS)) -> Iterator[dict[str, object]]:
    """The events of a store, oldest first; torn lines are skipped, a store without a log has none. ``names``: as they lie there.

    Raises OSError if a file cannot be read. I/O: reads both files once.
    """
    for name in names[::-1]:
        path = join(directory, name)
        if not fs.exists(path):
            continue
        file = fs.open(path)
        try:
            data = file.pread(file.size(), 0)
        finally:
            file.close()
        yield from _parsed(data.split(b"\n"))


def tail_events(fs: FileSystem, directory: str, count: int) -> list[dict[str, object]]:
    """The last ``count`` events of a store, oldest first, or as many of them as stand in the last ``TAIL_BYTES`` of each file.

    Beside a live writer a file may be renamed between two looks; it is passed over then. Raises OSError if a file cannot be
    read. I/O: at most two reads of TAIL_BYTES.
    """
    found: list[dict[str, object]] = []
    for name in (EVENTS, OLDER_EVENTS):
        try:
            file = fs.open(join(directory, name))
        except FileNotFoundError:
            continue
        try:
            skipped = max(file.size() - TAIL_BYTES, 0)
            lines = file.pread(TAIL_BYTES, skipped).split(b"\n")
        finally:
            file.close()
        found = [*_parsed(lines[1:] if skipped else lines), *found]
        if len(found) >= count:
            break
    return found[-count:]


def _parsed(lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
    """The events among these lines."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "kind" in event:
            yield event
