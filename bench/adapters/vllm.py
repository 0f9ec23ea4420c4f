"""vLLM: store and load jobs and lookups of its secondary tiers, over one primary tier's memory."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from bench.adapters.base import RowsEngine, Side, sync_side
from bench.stock.vllm import TierBackend, fs_tier, lsmkv_tier

__all__ = ["ENGINES"]


class _Tier:
    """A tier; a call waits for its job."""

    def __init__(self, backend: TierBackend, pages: int, home: Path) -> None:
        self._backend, self._pages, self._home = backend, pages, home
        self._synced: set[str] = set()

    def put(self, keys: Sequence[bytes], first: int) -> int:
        """A store job from the memory's first half."""
        return len(keys) * self._backend.transfer("submit_store", keys, range(first, first + len(keys))).success

    def get(self, keys: Sequence[bytes], first: int) -> int:
        """A load job into its second half."""
        at = self._pages + first
        return len(keys) * self._backend.transfer("submit_load", keys, range(at, at + len(keys))).success

    def lookup(self, keys: Sequence[bytes]) -> int:
        """Step after step until all verdicts are there."""
        return sum(self._backend.exists(keys))

    def sync(self) -> None:
        """Ours by its store; files one by one, which vLLM leaves out."""
        sync_side(self._backend.tier, self._home, self._synced)

    def close(self) -> None:
        """The tier's shutdown."""
        self._backend.close()


class _Vllm(RowsEngine):
    """One primary tier, shared by all sides."""

    name: ClassVar[str] = "vllm"

    def __init__(self, page_bytes: int, pages: int) -> None:
        self.title = f"vLLM {version('vllm')}"
        self.page_bytes = page_bytes
        self.fill(pages, TierBackend(page_bytes, 2 * pages).memory)
        self.sides = {"lsmkv": self._lsmkv, "vLLM fs tier": self._fs}

    def _lsmkv(self, home: Path, capacity: int) -> Side:
        return _Tier(lsmkv_tier(home, self.page_bytes, capacity, memory=self.memory), self.pages, home)

    def _fs(self, home: Path, capacity: int) -> Side:
        del capacity
        return _Tier(fs_tier(home, self.page_bytes, memory=self.memory), self.pages, home)


ENGINES = (_Vllm,)
