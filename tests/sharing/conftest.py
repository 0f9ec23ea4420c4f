"""Members on a disk in memory: a writer whose every file-system call is an opportunity, and siblings that are right at each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.followed import PageFollower
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.sharing import Sharing
from tests.turns import Turns

ROOT = "/root"
SEGMENT = 64 << 10
INDEX = 512 << 10
PAGE = 5000
FIELDS = {"model": "m"}


def key(i: int) -> bytes:
    return hashlib.sha256(b"key %d" % i).digest()[:28]


def keys(ids: Iterable[int]) -> list[bytes]:
    return [key(i) for i in ids]


def page(i: int, salt: int = 0, size: int = PAGE) -> bytes:
    return np.random.default_rng([i, salt]).integers(0, 256, size, dtype=np.uint8).tobytes()


def read(namespace, ids: Iterable[int]) -> dict[int, bytes]:
    """The delivered pages by number."""
    ids = list(ids)
    out = np.zeros((len(ids), namespace.page_bytes), np.uint8)
    flags = namespace.get_into(keys(ids), out)
    return {i: out[at].tobytes() for at, i in enumerate(ids) if flags[at]}


def put(namespace, ids: Iterable[int], salt: int = 0) -> list[bool]:
    ids = list(ids)
    return namespace.put_many(keys(ids), [page(i, salt, namespace.page_bytes) for i in ids])


class Root:
    """A disk with members on it, all in this process."""

    def __init__(self) -> None:
        self.fs = MemoryFileSystem()
        self.clock = ManualClock()
        self.stores: list[PageStore | PageFollower] = []

    def options(self, segments: int = 6, **changes: object) -> StoreOptions:
        fields = {"capacity_bytes": INDEX + 8192 + segments * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX}
        fields |= {"fs": self.fs, "clock": self.clock, "rng": seeded(1), "scheduler": ManualScheduler()}
        return StoreOptions(**{"block_cache_bytes": 1 << 20, **fields, **changes})

    def open(self, member: str, segments: int = 6, sharing: Sharing | None = None, **changes: object) -> PageStore:
        store = PageStore.open(ROOT, options=self.options(segments, **changes), member=member, sharing=sharing)
        self.stores.append(store)
        return store

    def follow(self, path: str = ROOT, **sharing: object) -> PageFollower:
        store = PageFollower.open(path, options=self.options(), sharing=Sharing(**sharing))
        self.stores.append(store)
        return store

    def abandon(self, store: PageStore) -> None:
        """What is left of a killed process: its files as they are, and no lock."""
        self.fs._locks.clear()
        self.stores.remove(store)
        store._gate.forked()
        store._in_child = True
        store._db._finalizer.detach()
        store._db._box.current = None

    def close(self) -> None:
        for store in self.stores:
            store.close()


class Stage(Root, Turns):
    """One writer, and whoever looks meanwhile."""

    def __init__(self) -> None:
        Root.__init__(self)
        Turns.__init__(self, self.fs, aside=True)
        self.namespace: Namespace | None = None
        self.left: set[int] = set()
        self.salts: dict[int, set[int]] = {}
        """Contents that each page may have, now or before what the writer is doing took effect."""
        self.ever: dict[int, set[int]] = {}

    def begin(self, **changes: object) -> None:
        """Open the writer's store."""
        with self.aside(False):
            self.writer = self.open("writer", sharing=Sharing(follow=()), **changes)
            self.namespace = self.writer.namespace(FIELDS, PAGE)

    def end(self) -> None:
        self.left = self.named()
        self.namespace = None
        with self.aside(False):
            self.writer.close()

    def die(self) -> None:
        """What is left of a killed process: its files as they are, and no lock."""
        self.left = set() if self.dead else self.named()
        self.namespace = None
        self.dead, self.kill_at = False, None
        self.abandon(self.writer)

    def put(self, ids: Iterable[int], salt: int = 0) -> list[bool]:
        ids = list(ids)
        for i in ids:
            self.salts.setdefault(i, set()).add(salt)
            self.ever.setdefault(i, set()).add(salt)
        with self.aside(False):
            return put(self.namespace, ids, salt)

    def delete(self, ids: Iterable[int]) -> None:
        with self.aside(False):
            self.namespace.delete_many(keys(ids))
        for i in ids:
            self.salts.pop(i, None)

    def named(self) -> set[int]:
        """The pages that the writer's index names now; while it is closed or being opened, those it named at its end."""
        if self.namespace is None:
            return self.left
        ids = sorted(self.salts)
        places = self.namespace._log.places(self.namespace.index_keys(keys(ids)))
        return {i for i, place in zip(ids, places, strict=True) if place is not None}


class Witness:
    """Looks through a follower and knows what it must see."""

    def __init__(self, stage: Stage, **sharing: object) -> None:
        self.stage = stage
        self.store = stage.follow(**{"refresh_s": 0.0, **sharing})
        self.namespace = self.store.namespace(FIELDS, PAGE)
        self.seen = self.looks = 0

    def look(self) -> None:
        """Everything that the writer's index names is delivered, and nothing else than what was stored."""
        must = self.stage.named()
        ids = sorted({*self.stage.salts, 10**6})
        there = set(np.flatnonzero(self.namespace.contains(keys(ids))).tolist())
        got = read(self.namespace, ids)
        for i, data in got.items():
            assert data in {page(i, salt) for salt in self.stage.salts[i]}, f"wrong bytes for page {i}"
        assert must <= got.keys(), f"missing: {sorted(must - got.keys())}"
        assert must <= {ids[at] for at in there}
        self.seen += len(got)
        self.looks += 1

    def glance(self) -> None:
        """Only what is there is asked for, so that nothing makes the follower look but what it finds moved or new.

        It may then show a page that was deleted since, or its bytes before it was deleted and stored anew.
        """
        must = self.stage.named()
        got = read(self.namespace, must)
        assert got.keys() == must
        for i, data in got.items():
            assert data in {page(i, salt) for salt in self.stage.ever[i]}, f"wrong bytes for page {i}"
        self.seen += len(got)
        self.looks += 1

    def check_calm(self) -> None:
        """Nothing was amiss on this disk."""
        for sibling in self.store.stats().sharing.siblings:
            assert (sibling.unreadable, sibling.failures) == (0, 0), sibling
        assert self.store.stats().sharing.lag_misses == 0


@pytest.fixture
def root() -> Iterator[Root]:
    root = Root()
    yield root
    root.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.on_call = lambda op, path: None
    stage.close()
