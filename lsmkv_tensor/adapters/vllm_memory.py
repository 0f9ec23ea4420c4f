"""The memory of vLLM's primary tier, as a secondary one is given it: chunks as the store takes pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import PageBuffers, PageSpans

__all__ = ["FEW_CHUNKS", "TierMemory"]

FEW_CHUNKS = 4
"""Chunks up to which a view of each is made sooner than arrays of addresses: 5 us for one, else 90 after a pause."""


class TierMemory:
    """The primary tier's memory: chunks of equal size, at equal distances."""

    def __init__(self, view: memoryview) -> None:
        steps, shape = view.strides or (), view.shape or ()
        if view.ndim != 2 or view.readonly or steps[1] != view.itemsize or steps[0] < shape[1] * view.itemsize:
            msg = f"the primary tier's view must be writable and have two dimensions, whole chunks, not {shape} by {steps}"
            raise InvalidArgumentError(msg)
        self._array = np.asarray(view)
        self._chunks, self._step = shape[0], steps[0]
        self.page_bytes = shape[1] * view.itemsize
        """Without what may lie between two chunks: that is nobody's, and behind the last one another's."""
        self._base = int(self._array.ctypes.data)
        self._rows = self._array.view(np.uint8)

    def spans(self, chunks: Sequence[int]) -> PageBuffers:
        """The memory of these chunks. InvalidArgumentError for one that there is not."""
        if chunks and not 0 <= min(chunks) <= max(chunks) < self._chunks:
            msg = f"chunks {min(chunks)} to {max(chunks)} of a primary tier of {self._chunks}"
            raise InvalidArgumentError(msg)
        if len(chunks) <= FEW_CHUNKS:
            return [self._rows[chunk].data for chunk in chunks]
        at = np.array(chunks, np.uint64) * np.uint64(self._step) + np.uint64(self._base)
        return PageSpans(at[:, None], np.array([self.page_bytes], np.int64), self._array)
