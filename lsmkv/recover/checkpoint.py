"""A consistent copy of an open store: shared or copied tables, a manifest of its own, no log."""

from __future__ import annotations

from dataclasses import replace

from lsmkv.env.fs import FileSystem, make_durable_dir, write_all
from lsmkv.errors import InvalidArgumentError, io_failed
from lsmkv.live.core import Core
from lsmkv.live.tables import table_path
from lsmkv.version.manifest import Manifest

__all__ = ["write_checkpoint"]

COPY_BYTES = 4 << 20
"""Bytes copied at a time where hard links are refused."""


def write_checkpoint(core: Core, dest: str) -> None:
    """Copy the flushed contents of a store to the new or empty directory ``dest``.

    The manifest comes last and durable: an interrupted checkpoint never opens as a store with missing data.
    The copy is a store of its own: it begins counting anew, and without the log of events.

    Raises InvalidArgumentError if ``dest`` is not empty, IOFailedError, NoSpaceError.

    I/O: one hard link (or copy) per table, one directory sync per directory made, one for the names of the tables, a manifest
    and one directory sync for its name.
    """
    fs = core.fs
    try:
        if fs.exists(dest) and (not fs.isdir(dest) or fs.listdir(dest)):
            msg = f"checkpoint destination {dest} exists and is not an empty directory"
            raise InvalidArgumentError(msg)
        make_durable_dir(fs, dest)
        with core.install_lock:
            state = core.state
            now = core.box.current
        assert now is not None
        view = now.view  # keeps the tables of `state` alive: a view never lags behind what was installed
        for number in sorted(t.number for t in state.shape.tables):
            _share(fs, table_path(core.path, number), table_path(dest, number))
        del view
        fs.sync_dir(dest)
        first_log = max(state.next_file, next(core.numbers))
        Manifest.create(fs, dest, replace(state, wal_floor=first_log, next_file=first_log, ledger={})).close()
    except OSError as error:
        raise io_failed("checkpoint", dest, error) from error


def _share(fs: FileSystem, src: str, dst: str) -> None:
    """A second name for an immutable file, or a durable copy where links are refused (another file system, say)."""
    try:
        fs.link(src, dst)
    except OSError:
        source = fs.open(src)
        target = fs.open(dst, "create")
        at = 0
        while data := source.pread(COPY_BYTES, at):
            at += write_all(target, [data], at)
        target.sync()
        target.close()
        source.close()
