"""Pages that must not be evicted: pinned under the commit lock, by who waits for it or by who finds it free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lsmkv.env.sync import Lock
from lsmkv_tensor.retention.keeper import Keeper

__all__ = ["Pinning"]


class Pinning:
    """The part of :class:`lsmkv_tensor.vlog.changes.Changes` that pins. Its attributes are that one's own."""

    lock: Lock
    keeper: Keeper

    def pin_pages(self, keys: Sequence[bytes]) -> list[bool]:
        """Pin pages of distinct keys; which are pinned. I/O: a scan of the index if the keeper is not yet filled."""
        with self.lock:
            self.keeper.fill()
            return self.keeper.pin(keys)

    def unpin_pages(self, keys: Sequence[bytes]) -> None:
        """Undo one pin on each of these pages that has one."""
        with self.lock:
            self.keeper.let_go(keys)

    def pin_at_once(self, keys: Sequence[bytes]) -> bool:
        """Pin pages of distinct keys if all are here and nobody has to be waited for; whether they are pinned. I/O: none."""
        with self._if_free() as free:
            if not free or not self.keeper.filled:
                return False
            flags = self.keeper.pin(keys)
            if all(flags):
                return True
            self.keeper.let_go([key for key, flag in zip(keys, flags, strict=True) if flag])
            return False

    def unpin_at_once(self, keys: Sequence[bytes]) -> bool:
        """:meth:`unpin_pages` if nobody has to be waited for; whether that was done. I/O: none."""
        with self._if_free() as free:
            if free and self.keeper.filled:
                self.keeper.let_go(keys)
                return True
            return False

    @contextmanager
    def _if_free(self) -> Iterator[bool]:
        """With the lock held, if nobody else has it; whether it is."""
        free = self.lock.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self.lock.release()
