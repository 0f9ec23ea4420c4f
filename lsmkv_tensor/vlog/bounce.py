"""Page-aligned memory: what O_DIRECT writes from when the caller's memory is not aligned, and what GC reads into."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np

from lsmkv.base.columns import U8
from lsmkv_tensor.vlog.layout import BLOCK, padded

__all__ = ["AlignedBuffer", "all_aligned"]


class AlignedBuffer:
    """A piece of anonymous memory that starts on a 4 KiB boundary. Untouched parts take no memory."""

    __slots__ = ("array", "size", "view")

    def __init__(self, size: int) -> None:
        self.size = padded(size)
        self.view = memoryview(mmap.mmap(-1, self.size))
        self.array: U8 = np.frombuffer(self.view, np.uint8)


def all_aligned(spans: Sequence[memoryview]) -> bool:
    """Whether every span starts on a block boundary in memory and is whole blocks long: then O_DIRECT takes it as it is."""
    if any(len(span) % BLOCK for span in spans):
        return False
    return not any(np.frombuffer(span, np.uint8).__array_interface__["data"][0] % BLOCK for span in spans if len(span))
