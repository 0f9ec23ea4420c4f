"""What the two roles tell each other: which blocks are to be read and written, and what a rank's pages are called.

Both are pickled between processes, so they hold bytes and numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lsmkv_tensor.adapters.vllm_connector.base import Handshake, Metadata

__all__ = ["Load", "Plan", "RankPages", "Save"]


@dataclass(frozen=True, slots=True)
class Load:
    """Blocks of a request that are to be read; until they are, it waits."""

    request: str
    keys: Sequence[bytes]
    blocks: Sequence[int]
    """Of the paged cache, one a key."""


@dataclass(frozen=True, slots=True)
class Save:
    """Blocks of a request that are full after this step."""

    keys: Sequence[bytes]
    blocks: Sequence[int]
    """Of the paged cache, one a key."""
    parent: bytes | None
    """The key of the block before the first."""


@dataclass(slots=True)
class Plan(Metadata):  # type: ignore[misc]  # vLLM's class where it is installed
    """One step of the engine."""

    loads: list[Load] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)
    used: list[Sequence[bytes]] = field(default_factory=list)
    """Prefixes that vLLM still had: retention should hear that they are in use."""
    forget: bool = False
    """Drop every page of the engine's namespaces first."""


@dataclass(frozen=True, slots=True)
class RankPages(Handshake):  # type: ignore[misc]  # vLLM's class where it is installed
    """What a worker tells the scheduler once it knows its caches."""

    fields: Mapping[str, object]
    """Of the rank's namespace."""
    page_bytes: int
