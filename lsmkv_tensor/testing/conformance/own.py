"""The page store as a subject: what the cases ask is what it promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

from lsmkv.env.posix import PosixFileSystem
from lsmkv.testing import FaultFileSystem, Hang
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.testing.conformance.protocol import Backend, Pages, Subject

__all__ = ["OwnBackend", "PageStoreSubject", "hanging_segments"]


class OwnBackend:
    """A page store behind the kit's calls."""

    def __init__(self, directory: Path, capacity_bytes: int, page_bytes: int) -> None:
        self.disk = FaultFileSystem(PosixFileSystem())
        options = StoreOptions(
            capacity_bytes=capacity_bytes, segment_bytes=16 * page_bytes + (64 << 10), io_timeout_s=10.0, fs=self.disk
        )
        self.store = PageStore.open(directory, options=options)
        self.view = self.store.namespace({"model": "conformance"}, page_bytes)

    def put(self, keys: Sequence[bytes], pages: Pages) -> list[bool]:
        """See the protocol."""
        return self.view.put_many(keys, pages)

    def exists(self, keys: Sequence[bytes]) -> list[bool]:
        """See the protocol."""
        return [bool(flag) for flag in self.view.contains(keys)]

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> list[bool]:
        """See the protocol."""
        return self.view.get_into(keys, out, deadline_s)

    def settle(self) -> None:
        """See the protocol."""
        self.store.sync()

    def delete(self, keys: Sequence[bytes]) -> None:
        """See the protocol."""
        self.view.delete_many(keys)

    def close(self) -> None:
        """See the protocol."""
        self.store.close()


class PageStoreSubject(Subject):
    """``PageStore`` and its namespaces, without an engine."""

    name = "lsmkv PageStore"
    version = f"lsmkv {version('lsmkv')}"

    def open(self, directory: Path, capacity_bytes: int) -> OwnBackend:
        """See Subject."""
        return OwnBackend(directory, capacity_bytes, self.page_bytes)

    def stalled(self, backend: Backend, directory: Path, page: Pages) -> AbstractContextManager[object]:
        """Reads of segments hang: every page's, as on a disk that hangs."""
        del directory, page
        assert isinstance(backend, OwnBackend)
        return hanging_segments(backend.disk)


@contextmanager
def hanging_segments(disk: FaultFileSystem) -> Iterator[None]:
    """Reads of segments on this disk hang until the context is left: for subjects that have a page store inside."""
    rules = [Hang(op, path="*.seg") for op in ("preadv", "pread")]
    for rule in rules:
        disk.add(rule)
    try:
        yield
    finally:
        disk.clear()
        for rule in rules:
            rule.event.set()
