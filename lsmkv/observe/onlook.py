"""One look at a store that another process may have open: its manifest, logs, status file, last events and owner.

Nothing is locked and nothing is changed. A look never fails because of what the store's writer does meanwhile: files that
vanish are left out, a manifest that is replaced is read again. What cannot be read is told as the state of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import join
from typing import Literal, TypeAlias

from lsmkv.base.events import tail_events
from lsmkv.base.status import read_status
from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.process import owner_runs
from lsmkv.errors import LsmError
from lsmkv.observe.files import LOCK, MANIFEST, StoreFiles, list_files, load_manifest
from lsmkv.version.state import ManifestState

__all__ = ["Look", "State", "ago", "look", "number"]

State: TypeAlias = Literal["open", "idle", "silent", "died", "closed", "unknown", "missing", "damaged"]

EVENTS = 64
"""Last events that a look brings along."""

ATTEMPTS = 3
"""Times a manifest that cannot be read is read again: its writer may be replacing it."""

SILENT_HEARTBEATS = 3
"""A writer that missed so many heartbeats is not taken to be alive."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw. Times in seconds since 1970."""

    at_s: float
    path: str
    state: State
    """``open``: a writer has it and tells; ``idle``: one has it, and nothing changes; ``silent``: its writer has told nothing for
    too long; ``died``: its writer is gone without closing it; ``closed``; ``unknown``: nobody tells; ``missing``: there is no
    store; ``damaged``: it cannot be read."""
    about: str
    """The state in words."""
    owner: str = ""
    """The text of the lock file: who opened it last."""
    manifest: ManifestState | None = None
    files: StoreFiles | None = None
    status: Mapping[str, object] | None = None
    """What the writer last said of itself (docs/format/status.md)."""
    events: tuple[Mapping[str, object], ...] = ()
    """The last ones, oldest first."""


def look(fs: FileSystem, path: str, clock: Clock) -> Look:
    """Look at the store at ``path``. Never fails.

    I/O: reads the manifest, the lock file, the status and the end of the event log; one listing, one stat a file.
    """
    try:
        if not fs.exists(join(path, MANIFEST)):
            return Look(clock.now(), path, "missing", f"no store at {path}")
        manifest = _manifest(fs, path)
        files, events = list_files(fs, path), tuple(tail_events(fs, path, EVENTS))
        owner = _text(fs, join(path, LOCK))
        status = read_status(fs, path)
    except (LsmError, OSError) as error:
        return Look(clock.now(), path, "damaged", " ".join(str(error).split()))
    now = clock.now()
    state, about = _state(now, owner, status, events)
    return Look(now, path, state, about, owner, manifest, files, status, events)


def _manifest(fs: FileSystem, path: str) -> ManifestState:
    """The manifest, read again if it changes while it is read."""
    for _ in range(ATTEMPTS - 1):
        try:
            return load_manifest(fs, path)
        except LsmError:
            continue
    return load_manifest(fs, path)


def _text(fs: FileSystem, path: str) -> str:
    """A small text file; empty if it is not there."""
    try:
        file = fs.open(path)
    except FileNotFoundError:
        return ""
    try:
        return file.pread(4096, 0).decode("utf-8", "replace")
    finally:
        file.close()


def _state(
    now: float, owner: str, status: Mapping[str, object] | None, events: tuple[Mapping[str, object], ...]
) -> tuple[State, str]:
    """The state, and what it is judged by."""
    runs = owner_runs(owner)
    who = _who(owner)
    if status is not None:
        return _telling(max(now - number(status, "at_s"), 0.0), who, status, gone=runs is False)
    last = events[-1].get("kind") if events else None
    if last == "close":
        return "closed", "closed"
    if runs is False:
        return ("closed", "nobody has it open") if last is None else ("died", f"{who} is gone without closing it")
    return "unknown", f"no status: {who} has just opened it, keeps none, or has gone"


def _telling(age_s: float, who: str, status: Mapping[str, object], *, gone: bool) -> tuple[State, str]:
    """The state of a store whose writer left a status."""
    if gone:
        return "died", f"{who} is gone without closing it; its last status is {ago(age_s)} old"
    if age_s > SILENT_HEARTBEATS * max(number(status, "heartbeat_s"), number(status, "interval_s")):
        return "silent", f"{who} has told nothing for {ago(age_s)}"
    if age_s > 2.5 * number(status, "interval_s") + 0.5:
        return "idle", f"open in {who}, nothing changes"
    return "open", f"open in {who}"


def _who(owner: str) -> str:
    """The writer in words."""
    facts = dict(line.split(" ", 1) for line in owner.splitlines() if " " in line)
    return f"process {facts['pid']}" if "pid" in facts else "a process"


def number(record: Mapping[str, object], name: str) -> float:
    """A number of a record; 0 if it has none."""
    value = record.get(name)
    return value if isinstance(value, int | float) else 0.0


def ago(seconds: float) -> str:
    """``0.4 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{minutes // 1440} days"
