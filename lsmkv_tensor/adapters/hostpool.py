"""Pages in an engine's host pool: where they lie in memory, and what gives their bytes their meaning.

A pool lays its pages out in its own way: K and V apart, layers apart, heads apart. It can say where the pieces of a page are
(``get_page_buffer_meta``); stored bytes are these pieces in order. Places go up evenly with the slot, so three questions are
enough: the addresses of all pages of a call are then one multiplication (128 pages of 64 pieces: 60 us instead of 3 ms). A pool
that cannot say it gives and takes whole pages (``get_data_page``, ``set_from_flat_data_page``): one copy more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.spans import PageBuffers, PageSpans, PageViews, tensor_window

__all__ = ["HostPages", "first_slots"]

Pool: TypeAlias = Any
"""A ``HostKVCache`` of SGLang, or what stands for one."""

_FIELDS = ("layer_num", "head_num", "head_dim", "v_head_dim", "start_layer", "end_layer", "kv_lora_rank", "qk_rope_head_dim")
"""What of a pool's geometry is asked for, where it has it."""
_ANY = 1 << 62
"""Tokens of a pool that does not say how many it has."""
FEW = 8
"""Pieces up to which memory is found faster without arrays: measured, 2 pieces, one page 15 us instead of 100."""


class HostPages:
    """The pages of one host pool."""

    def __init__(self, pool: Pool) -> None:
        """InvalidArgumentError for a pool whose pages cannot be told."""
        self.pool = pool
        self.page_size = int(getattr(pool, "page_size", 1) or 1)
        self.sizes: NDArray[np.int64] | None = None
        """Bytes of each piece of a page; None: whole pages are copied."""
        self._base: NDArray[np.uint64] | None = None
        self._step: NDArray[np.uint64] | None = None
        self._runs: list[tuple[int, int, int]] = []
        """Of few pieces: where each begins in the first page, how far the next page's is, its bytes; neighbours are one."""
        self._find_pieces()
        self.page_bytes = int(self.sizes.sum()) if self.sizes is not None else int(self._blank().nbytes)
        self.empty = not self.page_bytes
        """The pool holds no data: that a page was stored is all there is to store."""

    @property
    def pieces(self) -> int:
        """Pieces of memory that a page has; 0: whole pages are copied."""
        return 0 if self.sizes is None else len(self.sizes)

    def aligned(self, to: int) -> bool:
        """Whether every piece of every page begins and ends at a multiple of ``to`` bytes."""
        if self.sizes is None or self._base is None or self._step is None:
            return False
        parts = (self.sizes.astype(np.uint64), self._base, self._step)
        return not any(bool((part % np.uint64(to)).any()) for part in parts)

    def fields(self) -> dict[str, object]:
        """What gives the bytes their meaning, as JSON values."""
        pool = self.pool
        known = {name: value for name in _FIELDS if isinstance(value := getattr(pool, name, None), int)}
        return {
            "pool_class": type(pool).__name__,
            "dtype": str(getattr(pool, "dtype", None)),
            "layout": str(getattr(pool, "layout", None)),
            "page_tokens": self.page_size,
            "format_tag": getattr(pool, "storage_format_tag", None),
            "pieces": "page" if self.sizes is None else _runs(self.sizes.tolist()),
            **known,
        }

    def slots(self, host_indices: Any, pages: int) -> NDArray[np.int64]:  # noqa: ANN401  # a tensor, or an array in tests
        """The first slot of each page. InvalidArgumentError if they are not ``page_size`` indices for each page of the pool."""
        n = 0 if host_indices is None else len(host_indices)
        if n != pages * self.page_size:
            msg = f"{n} host indices for {pages} pages of {self.page_size} tokens"
            raise InvalidArgumentError(msg)
        if not n:
            return np.empty(0, np.int64)
        first = np.asarray(host_indices).reshape(-1)[:: self.page_size].astype(np.int64)
        last = int(getattr(self.pool, "size", _ANY)) - self.page_size
        if first.min() < 0 or first.max() > last or (first % self.page_size).any():  # memory that is not the pool's
            msg = f"host indices that begin no page of the pool: pages of {self.page_size} tokens from 0 to {last} do"
            raise InvalidArgumentError(msg)
        return first

    def memory(self, host_indices: Any, pages: int) -> PageBuffers:  # noqa: ANN401  # as of :meth:`slots`
        """The memory of the pages at these indices, of a pool that has :attr:`sizes`. InvalidArgumentError as :meth:`slots`."""
        found = self._views(host_indices, pages) if pages and self._runs and host_indices is not None else None
        return self.spans(self.slots(host_indices, pages)) if found is None else found

    def _views(self, host_indices: Any, pages: int) -> PageViews | None:  # noqa: ANN401  # as above
        """The memory of pages of few pieces; None for indices that begin no page of the pool, or one page twice."""
        slots, every, end = host_indices.tolist(), self.page_size, int(getattr(self.pool, "size", _ANY))
        firsts = slots[::every]
        if len(slots) != pages * every or set(map(type, firsts)) != {int} or len(set(firsts)) != pages:
            return None
        low = min(firsts)
        if low < 0 or max(firsts) > end - every or any(map(every.__rmod__, firsts)):
            return None
        numbers = [(slot - low) // every for slot in firsts]
        most, first = max(numbers), low // every
        windows = [(tensor_window(at + first * step, most * step + size, self.pool), step, size) for at, step, size in self._runs]
        return PageViews(
            ([window[n * step : n * step + size] for window, step, size in windows] for n in numbers), self.page_bytes
        )

    def spans(self, slots: NDArray[np.int64]) -> PageSpans:
        """The memory of the pages that begin at these slots; only of a pool that has :attr:`sizes`."""
        assert self.sizes is not None
        if self._base is not None and self._step is not None:
            pages = (slots // self.page_size).astype(np.uint64)
            return PageSpans(self._base + pages[:, None] * self._step, self.sizes, self.pool)
        addresses, sizes = self._asked(slots)
        if not (sizes == self.sizes).all():
            msg = f"{type(self.pool).__name__}: its pages have pieces of different sizes"
            raise InvalidArgumentError(msg)
        return PageSpans(addresses, self.sizes, self.pool)

    def copied(self, slots: NDArray[np.int64]) -> list[Any]:
        """The pages as flat tensors of their own."""
        return [self.pool.get_data_page(int(slot), flat=True).contiguous() for slot in slots]

    def blanks(self, n: int) -> list[Any]:
        """Flat tensors to read pages into."""
        return [self._blank() for _ in range(n)]

    def put_back(self, slots: NDArray[np.int64], pages: Sequence[Any], flags: Sequence[bool]) -> None:
        """Bring the pages that were read into the pool."""
        for slot, page, flag in zip(slots, pages, flags, strict=True):
            if flag:
                self.pool.set_from_flat_data_page(int(slot), page)

    # helpers

    def _blank(self) -> Any:  # noqa: ANN401  # a tensor
        """One flat page."""
        return self.pool.get_dummy_flat_data_page()

    def _asked(self, slots: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Addresses and sizes of the pieces [pages, pieces], as the pool says."""
        indices = first_slots(slots, self.page_size)
        pointers, sizes = self.pool.get_page_buffer_meta(indices)
        shape = (len(slots), -1)
        return np.array(pointers, np.uint64).reshape(shape), np.array(sizes, np.int64).reshape(shape)

    def _find_pieces(self) -> None:
        """Ask the pool about its first, second and last page, and see whether the rest follows from them."""
        last = max(int(getattr(self.pool, "size", self.page_size)) // self.page_size - 1, 0)
        slots = np.array([0, min(1, last), last], np.int64) * self.page_size
        try:
            addresses, sizes = self._asked(slots)
        except (ValueError, TypeError, NotImplementedError, AttributeError, AssertionError):  # layouts that have no pieces
            return
        if not sizes.size or not (sizes == sizes[0]).all() or sizes.min() < 1:
            return
        self.sizes = sizes[0]
        if not hasattr(self.pool, "size"):  # three places of one page say nothing of the others
            return
        step = addresses[1] - addresses[0]
        if (addresses[2] == addresses[0] + np.uint64(last) * step).all():
            self._base, self._step = addresses[0], step
            apart = bool((step >= self.sizes.astype(np.uint64)).all())  # else pages overlap, which only PageSpans finds
            if (
                len(step) <= FEW and apart and addresses[0].all() and int(step.max()) < _ANY
            ):  # one that runs backwards wraps around
                for piece in zip(addresses[0].tolist(), step.tolist(), sizes[0].tolist(), strict=True):
                    self._add_run(*piece)

    def _add_run(self, base: int, step: int, size: int) -> None:
        """One more piece, behind the others or as a part of the last."""
        if self._runs:
            before, as_far, has = self._runs[-1]
            if before + has == base and as_far == step:
                self._runs[-1] = (before, step, has + size)
                return
        self._runs.append((base, step, size))


def first_slots(slots: NDArray[np.int64], page_size: int) -> Any:  # noqa: ANN401  # a tensor where torch is installed
    """All slots of pages that begin at these, as pools take them: a tensor."""
    whole = (slots[:, None] + np.arange(page_size)).reshape(-1)
    try:
        from torch import from_numpy  # noqa: PLC0415  # only engines that have torch have pools
    except ImportError:
        return whole
    return from_numpy(whole)


def _runs(sizes: Sequence[int]) -> list[list[int]]:
    """Sizes and how often each comes in a row: 64 equal pieces are one pair."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1][1] += 1
        else:
            runs.append([size, 1])
    return runs
