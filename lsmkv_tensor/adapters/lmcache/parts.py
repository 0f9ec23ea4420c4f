"""What is needed of LMCache beside its base class, in one record: tests pass another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Parts", "lmcache_parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """LMCache's own things."""

    notifier: Callable[[], Any]
    """A new event descriptor: ``fileno``, ``notify``, ``close``."""
    bitmap: Callable[[Sequence[bool]], Any]
    """Its bitmap with these bits."""
    store_result: Callable[[bool, int], Any]
    """Whether a store task succeeded, and bytes written."""
    object_key: Callable[..., Any]
    """``chunk_hash``, ``model_name``, ``kv_rank``, ``object_group_id``, ``cache_salt``."""
    key_page: Callable[[Sequence[tuple[Any, int]], str | None], Any]
    """A page of a listing: keys with their bytes, and the cursor of the next."""


def lmcache_parts() -> Parts:
    """Those of the installed LMCache. ImportError without it."""
    from lmcache.lmcache_native import Bitmap  # noqa: PLC0415  # only with LMCache
    from lmcache.v1.distributed.api import KeyEntry, KeyListPage, ObjectKey  # noqa: PLC0415  # only with LMCache
    from lmcache.v1.distributed.internal_api import L2StoreResult  # noqa: PLC0415  # only with LMCache
    from lmcache.v1.platform import create_event_notifier  # noqa: PLC0415  # only with LMCache

    def bitmap(flags: Sequence[bool]) -> Any:  # noqa: ANN401  # LMCache's Bitmap
        """One with these bits."""
        found = Bitmap(len(flags))
        found.batched_set([i for i, flag in enumerate(flags) if flag])
        return found

    def key_page(entries: Sequence[tuple[Any, int]], cursor: str | None) -> Any:  # noqa: ANN401  # LMCache's KeyListPage
        """One with these keys."""
        found = tuple(KeyEntry(key=key.to_encoded_object_key(), size_bytes=size) for key, size in entries)
        return KeyListPage(entries=found, next_page_token=cursor)

    return Parts(create_event_notifier, bitmap, L2StoreResult, ObjectKey, key_page)
