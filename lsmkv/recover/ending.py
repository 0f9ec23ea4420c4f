"""Letting go of an open store: of its workers, files and lock. What was written stays in tables and logs."""

from __future__ import annotations

from lsmkv.env.sync import start_thread
from lsmkv.errors import io_failed
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.recover.opening import Opened
from lsmkv.write.commit import Committer

__all__ = ["abandon"]


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
