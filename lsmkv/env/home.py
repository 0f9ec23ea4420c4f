"""Where a user's own small files go."""

from __future__ import annotations

import os

__all__ = ["cache_directory"]


def cache_directory() -> str:
    """The directory for what can be measured or made again: ``$XDG_CACHE_HOME/lsmkv``, else ``~/.cache/lsmkv``. I/O: none."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as the specification of these directories says: relative ones do not count
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "lsmkv")
