"""Letting go of an open store: of its workers, files and lock. What was written stays in tables and logs."""

from __future__ import annotations

from lsmkv.env.sync import start_thread
from lsmkv.errors import LsmError, io_failed
from lsmkv.live.core import Core
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.recover.opening import Opened
from lsmkv.write.commit import Committer

__all__ = ["abandon", "flush_finally"]


def flush_finally(core: Core, committer: Committer, upkeep: Upkeep) -> None:
    """Put what is in memory where the next opening finds it: into tables, or if that fails into synced logs.

    I/O: a table for each memtable; one manifest edit each, one if there is none.
    """
    try:
        committer.seal()
        upkeep.finish()
    except LsmError:
        if core.poison is None:
            committer.sync_logs_finally()


def abandon(upkeep: Upkeep, committer: Committer, opened: Opened) -> None:
    """Stop the workers, then release everything, the lock last. IOFailedError if a file could not be closed.

    The garbage collector may call this from a worker of the store, which must not wait for itself.
    """
    if upkeep.inside:
        start_thread("lsmkv-abandon", lambda: _let_go(upkeep, committer, opened))
    else:
        _let_go(upkeep, committer, opened)


def _let_go(upkeep: Upkeep, committer: Committer, opened: Opened) -> None:
    """Do it."""
    upkeep.stop()
    opened.core.box.current = None
    try:
        committer.close()
    except OSError as error:
        raise io_failed("close", opened.core.path, error) from error
    finally:
        opened.release()
