"""Telling owners of namespaces which of their pages were evicted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeAlias

from lsmkv.env.sync import ends_the_process

__all__ = ["EvictCallback", "Notifier"]

EvictCallback: TypeAlias = Callable[[list[bytes], list[int]], None]
"""Called with page keys (28 bytes) and sizes (bytes) of pages just evicted, in the thread whose call evicted them,
after that call left the store: it may call anything of it."""


class Notifier:
    """Callbacks by namespace number."""

    def __init__(self) -> None:
        self._callbacks: defaultdict[int, list[EvictCallback]] = defaultdict(list)
        self.errors = 0
        """Callbacks that raised."""
        self.watch: Callable[[list[bytes]], None] = _nobody
        """Called first, with the index keys of all that were evicted."""

    def register(self, namespace: int, callback: EvictCallback) -> None:
        """Call it from now on."""
        self._callbacks[namespace].append(callback)

    def deliver(self, evicted: Iterable[tuple[bytes, int]]) -> None:
        """Call back for (index key, bytes) of each page, without any lock held; a raising callback is counted."""
        evicted = list(evicted)
        if evicted:
            self.watch([key for key, _ in evicted])
        by_namespace: defaultdict[int, tuple[list[bytes], list[int]]] = defaultdict(lambda: ([], []))
        for key, size in evicted:
            keys, sizes = by_namespace[int.from_bytes(key[:4], "big")]
            keys.append(key[4:])
            sizes.append(size)
        for namespace, (keys, sizes) in by_namespace.items():
            for callback in self._callbacks.get(namespace, ()):
                try:
                    callback(list(keys), list(sizes))
                except BaseException as error:  # an owner's bug must not fail another owner's put, nor end a worker
                    if ends_the_process(error):
                        raise
                    self.errors += 1


def _nobody(keys: list[bytes]) -> None:
    """Nobody keeps an account of what was evicted."""
    del keys
