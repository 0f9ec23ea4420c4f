"""Which versions of an engine an adapter was written against: asked when it is used, never when it is imported."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

__all__ = ["require_version"]


def require_version(package: str, low: str, below: str) -> str:
    """The installed version of ``package``, which must be at least ``low`` and below ``below`` (numbers with dots).

    Raises ImportError saying what is installed, what is needed and how to get it.
    """
    wanted = f"{package}>={low},<{below}"
    try:
        found = version(package)
    except PackageNotFoundError as error:
        msg = f"this adapter needs {package}, which is not installed: pip install '{wanted}'"
        raise ImportError(msg) from error
    if not _numbers(low) <= _numbers(found) < _numbers(below):
        msg = f"this adapter was written for {wanted}, but {package} {found} is installed: pip install '{wanted}'"
        raise ImportError(msg)
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers that begin a version, as many as there are: 0.5.23.post1 is (0, 5, 23)."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found.group().split("."))) if found else ()
