"""Which engine this environment is for."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

__all__ = ["ENGINES", "is_installed"]

ENGINES = ("sglang", "vllm", "lmcache")


def is_installed(engine: str) -> bool:
    """Whether the engine is here, under its own name: vLLM's build for CPUs is of another version, and has other tests."""
    try:
        version(engine)
    except PackageNotFoundError:
        return False
    return find_spec(engine) is not None
