"""Between tensors and the memory of pages: what may be stored, from where, and where pages are read to.

bfloat16 and float8 have no NumPy type and no buffer protocol; pages are therefore moved by address
(:mod:`lsmkv_tensor.spans`), never converted. Memory that cannot be addressed in one piece (another device, strides) goes
through a copy. Every shape, dtype and count is checked here, before anything is read or written.

torch is imported when the first tensor is made: the page store alone needs none, and importing it takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import PageFormat
from lsmkv_tensor.spans import PageBuffers, PageSpans, ranges_overlap

if TYPE_CHECKING:
    import torch

__all__ = ["PageSource", "PageTarget", "new_pages"]

ALIGN = 4096
"""New pages begin at multiples of this in memory, so that direct I/O can reach them without a copy."""


class PageSource:
    """Pages on their way in: checked at once, brought to addressable memory only when taken.

    ``pages``: a sequence of tensors of the format's shape, one tensor [n, *shape], or PageSpans. Tensors may be on any device
    and have any strides. InvalidArgumentError says which page is wrong, what it has and what is needed.
    """

    def __init__(self, fmt: PageFormat, pages: Any) -> None:  # noqa: ANN401  # three kinds of memory, told apart here
        self._pages = pages
        self._whole = _is_tensor(pages)
        _check(fmt, pages, "pages")

    def __len__(self) -> int:
        """Number of pages."""
        return len(self._pages)

    def take(self, which: Sequence[int]) -> PageBuffers:
        """The memory of some pages, by ascending position. Copies those that are elsewhere or not in one piece."""
        pages, every = self._pages, len(which) == len(self._pages)
        if isinstance(pages, PageSpans):
            return pages if every else PageSpans(pages.addresses[list(which)], pages.sizes, pages.owner)
        if not self._whole:
            return [_home(pages[i]) for i in which]
        if _addressable(pages):
            return pages if every else [pages[i] for i in which]
        return _home(pages if every else pages.detach()[list(which)])


class PageTarget:
    """Where pages are read to: ``buffers`` for the page store, then :meth:`result` for the caller.

    ``out``: None (new tensors), one tensor [m, *shape], a sequence of tensors, each writable and of the format's dtype. At
    most ``n`` pages are read, fewer if ``out`` has room for fewer. Tensors elsewhere or with strides are filled by a copy.
    InvalidArgumentError for memory that is there twice.
    """

    def __init__(self, fmt: PageFormat, out: Any, n: int) -> None:  # noqa: ANN401  # as PageSource
        self._out = out
        self._staged: torch.Tensor | None = None
        self._tangled = False
        if out is None:
            self._staged = new_pages(fmt, n)
            self.buffers: PageBuffers = self._staged
            return
        if isinstance(out, PageSpans):
            _refuse("out is PageSpans: use get_into")
        _check(fmt, out, "out")
        out = self._out = out.detach()[:n] if _is_tensor(out) else list(out[:n])
        tensors = [out] if _is_tensor(out) else out
        self._tangled = _tangled(tensors)
        if all(map(_addressable, tensors)):
            self.buffers = out
        else:
            self._staged = self.buffers = new_pages(fmt, len(out))

    def __len__(self) -> int:
        """Number of pages it takes."""
        return len(self._out if self._out is not None else self.buffers)

    def result(self, delivered: int) -> list[torch.Tensor]:
        """The first ``delivered`` pages as tensors: new ones, or the caller's.

        New ones share one allocation (32 separate views would cost more than reading small pages) and are writable.
        """
        if self._out is None:
            assert self._staged is not None
            return list(self._staged.unbind(0))[:delivered]
        pages = list(self._out.unbind(0) if _is_tensor(self._out) else self._out)[:delivered]
        if self._staged is not None:
            for page, read in zip(pages, self._staged, strict=False):
                page.detach().copy_(read)
            if self._tangled and not all(map(_same_bits, pages, self._staged)):
                _refuse_shared()
        return pages


def new_pages(fmt: PageFormat, n: int) -> torch.Tensor:
    """An uninitialised CPU tensor [n, *shape] whose memory begins at a multiple of 4096."""
    import torch  # noqa: PLC0415  # only users of tensors pay for it

    size = n * fmt.page_bytes
    memory = torch.empty(size + ALIGN, dtype=torch.uint8)
    skip = -memory.data_ptr() % ALIGN
    return memory[skip : skip + size].view(fmt.dtype).view(n, *fmt.shape)


def _check(fmt: PageFormat, pages: Any, name: str) -> None:  # noqa: ANN401  # as PageSource
    """Raise InvalidArgumentError unless every page is one of the format."""
    if isinstance(pages, PageSpans):
        if pages.page_bytes != fmt.page_bytes:
            _refuse(f"{name}[0]: its spans have {pages.page_bytes} bytes, a page has {fmt.page_bytes}")
    elif _is_tensor(pages):
        _check_tensor(fmt, pages, name, "[n, *shape]")
        if tuple(pages.shape[1:]) != fmt.shape or not pages.ndim:
            _refuse(f"{name}: shape {list(pages.shape)}, expected [n, {', '.join(map(str, fmt.shape))}]")
    elif isinstance(pages, Sequence) and not isinstance(pages, (str, bytes, bytearray, memoryview)):
        for i, page in enumerate(pages):
            where = f"{name}[{i}]"
            if not _is_tensor(page):
                _refuse(f"{where}: expected a tensor, got {type(page).__name__}")
            _check_tensor(fmt, page, where, f"{list(fmt.shape)}")
            if tuple(page.shape) != fmt.shape:
                _refuse(f"{where}: shape {list(page.shape)}, expected {list(fmt.shape)}")
    else:
        _refuse(f"{name}: expected a sequence of tensors or one tensor [n, *shape], got {type(pages).__name__}")


def _check_tensor(fmt: PageFormat, tensor: Any, where: str, shape: str) -> None:  # noqa: ANN401  # duck-typed tensor
    """Raise InvalidArgumentError unless the tensor has the dtype of pages, and bytes."""
    if tensor.dtype != fmt.dtype:
        _refuse(f"{where}: dtype {tensor.dtype}, expected {fmt.dtype} {shape}")
    if str(tensor.layout) != "torch.strided" or tensor.device.type == "meta":
        _refuse(f"{where}: a {tensor.layout} tensor on {tensor.device} has no bytes to store or fill")


def _tangled(tensors: Sequence[Any]) -> bool:
    """Whether the extents of these tensors in memory interleave, so that only their contents tell if they share elements.

    InvalidArgumentError where they certainly do: a repeated dimension, the same memory twice, dense tensors that overlap.
    """
    tensors = [t for t in tensors if t.numel()]
    dense = [bool(t.is_contiguous()) for t in tensors]
    inner = False
    for tensor in (t for t, whole in zip(tensors, dense, strict=True) if not whole):
        reach = 0
        for step, size in sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1):
            if not step:
                _refuse_shared()
            inner |= step <= reach
            reach += step * (size - 1)
    starts = np.array([t.data_ptr() for t in tensors], np.int64)
    if len(np.unique(starts)) < len(starts):
        _refuse_shared()
    ends = starts + np.array([_extent(t) for t in tensors], np.int64)
    if not ranges_overlap(starts, ends):
        return inner
    if all(dense):
        _refuse_shared()
    return True


def _extent(tensor: Any) -> int:  # noqa: ANN401  # duck-typed tensor
    """Bytes from the first to the last element of a tensor that has elements."""
    last = sum(step * (size - 1) for step, size in zip(tensor.stride(), tensor.shape, strict=True))
    return int((last + 1) * tensor.element_size())


def _same_bits(a: Any, b: Any) -> bool:  # noqa: ANN401  # duck-typed tensors
    """Whether two tensors hold the same bytes."""
    return bool(_bytes_of(a).equal(_bytes_of(b)))


def _bytes_of(tensor: Any) -> Any:  # noqa: ANN401  # duck-typed tensor
    """Its bytes as one flat tensor on the CPU."""
    import torch  # noqa: PLC0415  # there is a tensor: it is imported

    return _home(tensor.detach()).reshape(-1).view(torch.uint8)


def _refuse_shared() -> NoReturn:
    """Refuse memory that two pages would be read into."""
    _refuse("out: two pages, or two parts of one, share memory: each needs memory of its own to be read into")


def _is_tensor(value: object) -> bool:
    """Whether it looks like a torch tensor."""
    return hasattr(value, "data_ptr") and hasattr(value, "is_contiguous")


def _addressable(tensor: Any) -> bool:  # noqa: ANN401  # duck-typed tensor
    """Whether its bytes are one piece of this machine's memory, and mean what they say (no pending negation)."""
    return tensor.device.type == "cpu" and bool(tensor.is_contiguous()) and not (tensor.is_neg() or tensor.is_conj())


def _home(tensor: Any) -> Any:  # noqa: ANN401  # duck-typed tensor
    """The same values in one piece of this machine's memory; the tensor itself if it is that already."""
    return tensor if _addressable(tensor) else tensor.detach().resolve_neg().resolve_conj().to("cpu").contiguous()


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    raise InvalidArgumentError(what)
