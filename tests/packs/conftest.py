"""Stores on disks in memory, and tensors whose bytes only their prefix has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import PageFormat, PageStore, StoreOptions, TensorStore

FMT = PageFormat(page_tokens=2, shape=(2, 512), dtype=torch.bfloat16)
PACK = "/packs/one.pack"


class Machine:
    """A disk with a store on it, and packs."""

    def __init__(self, fs=None):
        self.fs = fs if fs is not None else MemoryFileSystem()
        if not self.fs.exists("/packs"):
            self.fs.mkdir("/packs")
            self.fs.sync_dir("/")

    def options(self, segments=40, **more) -> StoreOptions:
        size = {"capacity_bytes": (1 << 20) + 8192 + segments * (128 << 10), "segment_bytes": 128 << 10, "index_bytes": 1 << 20}
        return StoreOptions(**size, fs=self.fs, rng=seeded(1), scheduler=ManualScheduler(), **more)

    def tensors(self, namespace="model", fmt=FMT, **more) -> TensorStore:
        return TensorStore.open("/store", fmt, namespace=namespace, options=self.options(), **more)

    def pages(self, **more) -> PageStore:
        return PageStore.open("/store", options=self.options(**more))

    def copy_to(self, other: Machine, path=PACK) -> None:
        data = self.fs.open(path).pread(1 << 30, 0)
        if other.fs.exists(path):
            other.fs.unlink(path)
        file = other.fs.open(path, "create")
        file.pwritev([data], 0)
        file.sync()
        other.fs.sync_dir("/packs")

    def damage(self, at: int, path=PACK) -> None:
        file = self.fs.open(path, "rw")
        (byte,) = file.pread(1, at)
        file.pwritev([bytes([byte ^ 0x10])], at)


def tokens_of(name: int, n: int = 160) -> list[int]:
    """A prompt of 80 pages; the first 64 are those of every other, so the second group differs."""
    return [*range(120), *range(1000 * name, 1000 * name + n - 120)]


def tensors_of(tokens) -> torch.Tensor:
    """The pages of a prompt."""
    out = []
    for stop in range(2, len(tokens) + 1, 2):
        rng = np.random.default_rng(tokens[:stop])
        out.append(torch.from_numpy(rng.integers(0, 99, FMT.shape).astype(np.float32)).to(FMT.dtype))
    return torch.stack(out)


def flat(i: int) -> bytes:
    return i.to_bytes(28, "big")


def data(i: int, size: int = 3000) -> bytes:
    return np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8).tobytes()


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def machines():
    return Machine
