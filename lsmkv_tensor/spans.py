"""The caller's memory as views of bytes: what pages are written from and read into.

Three shapes of memory are understood, because engines keep their pools in three ways: a buffer per page, several buffers
per page (their bytes in order are the page), and :class:`PageSpans`, raw addresses for all pages at once (host pools keep K
and V apart, or every layer apart). Tensors are recognised by what they can do, so this module needs no torch.

Nothing here copies: a view refers to the caller's memory and keeps its owner alive. Every span is checked before the first
byte moves, so a wrong one costs the caller an error and never a page.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import add, le
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["PageBuffers", "PageSpans", "PageViews", "page_views", "ranges_overlap", "tensor_window"]

PageBuffers: TypeAlias = "Sequence[Any] | NDArray[Any] | PageSpans | Any"
"""Per page a buffer or a sequence of buffers, one array or CPU tensor whose first dimension counts pages, or PageSpans."""


@dataclass(frozen=True, slots=True, eq=False)
class PageSpans:
    """Raw memory of n pages, each of s spans: page i is the bytes at ``addresses[i, 0]``, ``addresses[i, 1]``, ... in order.

    ``addresses``: uint64 [n, s]. ``sizes``: int64 [s] in bytes, the same for every page. ``owner``: whatever keeps that
    memory alive; views hold on to it. The addresses are taken on trust: only the caller can know that they are its own, and of
    this machine's memory. An owner (or one of a list or tuple of owners) that is a tensor on another device is refused: reading
    a GPU's addresses ends the process.

    Raises InvalidArgumentError for shapes that do not fit, null addresses, sizes below one and owners on other devices.
    """

    addresses: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    owner: object

    def __post_init__(self) -> None:
        """Bring both arrays to their exact types and refuse what cannot be memory."""
        addresses = _integers("addresses", self.addresses, 2).astype(np.uint64)
        sizes = _integers("sizes", self.sizes, 1).astype(np.int64)
        if addresses.shape[1] != len(sizes):
            _refuse(f"PageSpans: addresses have {addresses.shape[1]} spans a page, sizes have {len(sizes)}")
        if not len(sizes):
            _refuse("PageSpans: a page needs at least one span")
        if sizes.min() < 1:
            _refuse(f"PageSpans: sizes[{int(sizes.argmin())}] = {int(sizes.min())}: must be at least 1 byte")
        if addresses.size and not addresses.all():
            page, span = (int(x) for x in np.argwhere(addresses == 0)[0])
            _refuse(f"PageSpans: addresses[{page}, {span}] is null")
        if addresses.size and int(addresses.max()) + int(sizes.max()) > _TOP:
            _refuse(f"PageSpans: address {int(addresses.max()):#x} lies beyond the address space")
        for owner in self.owner if isinstance(self.owner, (list, tuple)) else (self.owner,):
            if _is_tensor(owner) and owner.device.type != "cpu":
                _refuse(f"PageSpans: its owner is a tensor on {owner.device}: bring it to the CPU, or pass tensors instead")
        object.__setattr__(self, "addresses", addresses)
        object.__setattr__(self, "sizes", sizes)

    def __len__(self) -> int:
        """Number of pages."""
        return len(self.addresses)

    @property
    def page_bytes(self) -> int:
        """Bytes of one page."""
        return int(self.sizes.sum())

    def views(self) -> list[list[memoryview]]:
        """Per page its spans as writable views; neighbours in memory come as one view.

        One window is laid over the whole address range and sliced (0.1 us a span; a ctypes object for each costs 1 us):
        the window may cover memory that is not the owner's, the slices never do.
        """
        if not len(self.addresses):
            return []
        low = int(self.addresses.min())
        ends = self.addresses + self.sizes.astype(np.uint64)
        window = tensor_window(low, int(ends.max()) - low, self)
        if (self.addresses[:, 1:] == ends[:, :-1]).all():
            starts, stops = self.addresses[:, :1], ends[:, -1:]
        else:
            starts, stops = self.addresses, ends
        firsts = (starts - np.uint64(low)).tolist()
        lasts = (stops - np.uint64(low)).tolist()
        return [[window[a:b] for a, b in zip(*page, strict=True)] for page in zip(firsts, lasts, strict=True)]


class PageViews(list[list[memoryview]]):
    """Per page its spans as flat writable views of bytes, none of them in two pages: whoever made them vouches for that.

    ``page_bytes``: what the spans of each page have together.
    """

    __slots__ = ("page_bytes",)

    def __init__(self, pages: Iterable[list[memoryview]], page_bytes: int) -> None:
        super().__init__(pages)
        self.page_bytes = page_bytes


def page_views(buffers: PageBuffers, n: int, page_bytes: int, *, writable: bool = False) -> list[list[memoryview]]:
    """The memory of ``n`` pages of ``page_bytes`` bytes: per page its spans as flat views of unsigned bytes.

    A buffer is anything with the buffer protocol, or a CPU tensor; it must be contiguous. ``writable``: refuse memory that
    cannot be read into, and memory given twice. Raises InvalidArgumentError naming the page, what it has and what is needed.
    """
    if type(buffers) is PageViews and len(buffers) == n and buffers.page_bytes == page_bytes:
        return buffers
    if n == 1 and type(buffers) is list and (alone := _one_page(buffers, page_bytes)) is not None:
        return alone
    pages = _page_views(buffers, n, page_bytes, writable=writable)
    if writable:
        _refuse_shared(buffers, pages)
    return pages


def _one_page(pages: list[Any], page_bytes: int) -> list[list[memoryview]] | None:
    """The views of one page that is a writable view of bytes, or a list of such, one behind the other; None if it is not."""
    if len(pages) != 1:
        return None
    if type(one := pages[0]) is memoryview:
        plain = one.format == "B" and one.shape == (page_bytes,) and one.c_contiguous and not one.readonly
        return [[one]] if plain else None
    if type(one) is not list:
        return None
    behind = size = 0
    for view in pages[0]:
        if type(view) is not memoryview or view.readonly or view.format != "B" or view.ndim != 1 or not view.c_contiguous:
            return None
        if not len(view) or (address := _address(_from_buffer(view))) < behind:
            return None
        behind = address + len(view)
        size += len(view)
    return [pages[0]] if size == page_bytes else None


def _page_views(buffers: PageBuffers, n: int, page_bytes: int, *, writable: bool) -> list[list[memoryview]]:
    """The views, each buffer checked by itself."""
    if isinstance(buffers, PageSpans):
        if len(buffers) != n:
            _refuse(f"{len(buffers)} pages of spans for {n} keys")
        if buffers.page_bytes != page_bytes:
            _refuse(f"page 0: its spans have {buffers.page_bytes} bytes, a page has {page_bytes}")
        return buffers.views()
    if isinstance(buffers, (bytes, bytearray, memoryview, str)) or not hasattr(buffers, "__len__"):
        _refuse(f"buffers must be a sequence of {n} pages, not {type(buffers).__name__}")
    if len(buffers) != n:
        _refuse(f"{len(buffers)} pages for {n} keys")
    if isinstance(buffers, np.ndarray) or _is_tensor(buffers):
        whole = _view(buffers, 0, writable)
        if len(whole) != n * page_bytes:
            _refuse(f"page 0: has {len(whole) // max(n, 1)} bytes, a page has {page_bytes}")
        return [[whole[i * page_bytes : (i + 1) * page_bytes]] for i in range(n)]
    if n and type(buffers[0]) is np.ndarray and (rows := _rows(buffers, page_bytes, writable)) is not None:
        return rows
    pages = []
    for i, page in enumerate(buffers):
        parts = page if isinstance(page, (list, tuple)) else (page,)
        views = [_view(part, i, writable) for part in parts]
        got = sum(map(len, views))
        if got != page_bytes:
            _refuse(f"page {i}: has {got} bytes, a page has {page_bytes}")
        pages.append(views)
    return pages


def _rows(buffers: Sequence[Any], page_bytes: int, writable: bool) -> list[list[memoryview]] | None:
    """The views of pages that all are one array of bytes each, the rows of a pool; None if one of them is anything else."""
    if set(map(type, buffers)) != {np.ndarray}:
        return None
    views = [page.data for page in buffers]
    shapes = {(view.format, view.shape, view.c_contiguous, view.readonly and writable) for view in views}
    return [[view] for view in views] if shapes == {("B", (page_bytes,), True, False)} else None


def ranges_overlap(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
    """Whether any two of these ranges of addresses share a byte. Pure."""
    order = starts.argsort()
    return bool((starts[order[1:]] < ends[order[:-1]]).any())


def _refuse_shared(buffers: PageBuffers, pages: list[list[memoryview]]) -> None:
    """Refuse memory that two pages would be read into: each would spoil the other.

    Only addresses are compared (32 pages: about 15 us); one array for all pages is one piece and cannot overlap itself.
    """
    if isinstance(buffers, PageSpans):
        starts = buffers.addresses.astype(np.int64)
        ends = (starts + buffers.sizes).ravel()
        starts = starts.ravel()
    elif isinstance(buffers, np.ndarray) or _is_tensor(buffers):
        return
    else:
        spans = [span for page in pages for span in page if len(span)]
        firsts = [_address(_from_buffer(span)) for span in spans]
        lasts = list(map(add, firsts, map(len, spans)))
        if all(map(le, lasts, islice(firsts, 1, None))):  # one after the other, as in most pools
            return
        starts, ends = np.array(firsts, np.int64), np.array(lasts, np.int64)
    if ranges_overlap(starts, ends):
        _refuse("two pages of this call overlap in memory: each needs memory of its own to be read into")


def tensor_window(address: int, size: int, owner: object) -> memoryview:
    """A writable view of ``size`` bytes at ``address`` that keeps ``owner`` alive."""
    memory = (ctypes.c_char * size).from_address(address)
    memory.owner = owner  # type: ignore[attr-defined]  # ctypes arrays take attributes: this one ties the lifetimes together
    return memoryview(memory).cast("B")


_address, _from_buffer = ctypes.addressof, ctypes.c_char.from_buffer

_NOTHING = memoryview(bytearray())  # writable: reading nothing into it is no mistake

_TOP = 1 << 63
"""No user address reaches this far on any platform we run on."""


def _view(part: Any, page: int, writable: bool) -> memoryview:  # noqa: ANN401  # the caller's memory may be of any type
    """One buffer as a flat view, or InvalidArgumentError naming its page."""
    if type(part) is np.ndarray and part.dtype.char == "B" and part.flags.c_contiguous:
        part = part.data
    if type(part) is memoryview and part.format == "B" and part.ndim == 1 and part.c_contiguous:
        view = part
    elif _is_tensor(part):
        view = _tensor_view(part, page)
    else:
        view = _buffer_view(part, page)
    if writable and view.readonly:
        _refuse(f"page {page}: its {type(part).__name__} is read-only, but is to be read into")
    return view


def _buffer_view(part: object, page: int) -> memoryview:
    """A view of anything with the buffer protocol."""
    if isinstance(part, np.ndarray):
        if not part.flags.c_contiguous:
            _refuse(f"page {page}: its array is not C-contiguous (strides {part.strides}, shape {part.shape})")
        if part.dtype.hasobject:
            _refuse(f"page {page}: an array of Python objects has no bytes of its own")
        part = part.reshape(-1).view(np.uint8).data
    try:
        view = memoryview(part)  # type: ignore[arg-type]  # asking is the only test there is for the buffer protocol
    except (TypeError, ValueError) as error:
        msg = f"page {page}: {type(part).__name__} is neither a buffer nor a tensor nor a sequence of them"
        raise InvalidArgumentError(msg) from error
    if not view.c_contiguous:
        _refuse(f"page {page}: its {type(part).__name__} is not contiguous")
    return view.cast("B") if view.nbytes else _NOTHING


def _is_tensor(part: object) -> bool:
    """Whether it looks like a torch tensor: tensors of bfloat16 and float8 have no buffer protocol, but an address."""
    return hasattr(part, "data_ptr") and hasattr(part, "is_contiguous")


def _tensor_view(tensor: Any, page: int) -> memoryview:  # noqa: ANN401  # duck-typed: torch may not be installed
    """A view of a CPU tensor's memory."""
    if tensor.device.type != "cpu":
        _refuse(f"page {page}: its tensor is on {tensor.device}: bring it to the CPU first")
    if str(tensor.layout) != "torch.strided" or not tensor.is_contiguous():
        _refuse(f"page {page}: its tensor is not contiguous (layout {tensor.layout}, shape {tuple(tensor.shape)})")
    if tensor.is_neg() or tensor.is_conj():
        _refuse(f"page {page}: its tensor is a negated or conjugated view: resolve it first")
    return tensor_window(tensor.data_ptr(), tensor.nbytes, tensor) if tensor.nbytes else _NOTHING


def _integers(name: str, value: object, ndim: int) -> NDArray[Any]:
    """The array, if it holds integers that are not negative in this many dimensions."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors of other devices
        msg = f"PageSpans: {name} must be integers of {ndim} dimension(s): {error}"
        raise InvalidArgumentError(msg) from error
    if array.ndim != ndim or (array.size and array.dtype.kind not in "iu"):
        _refuse(f"PageSpans: {name} must be integers of {ndim} dimension(s), not {array.dtype} {list(array.shape)}")
    if array.size and array.dtype.kind == "i" and int(array.min()) < 0:
        _refuse(f"PageSpans: {name} has a negative entry, {int(array.min())}")
    return array


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    raise InvalidArgumentError(what)
