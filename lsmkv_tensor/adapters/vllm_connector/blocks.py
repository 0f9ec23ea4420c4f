"""The paged KV cache of one rank, as pages: one block of all layers.

vLLM hands out one tensor a layer. Its first dimension counts blocks (or parts of blocks of equal number, where a kernel wants
smaller ones); the others lie in memory in an order of the attention backend's choice. A page is the layers in order, each layer's
block in the order of its memory, so that copying a block is mostly copying runs of bytes. Layers that share a tensor count once.

Everything is copied through a tensor of bytes on the CPU: the caller's memory may be a GPU's, and is written to again as soon as
the step is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["PagedBlocks"]

Tensor: TypeAlias = Any
"""``torch.Tensor``: torch is there where vLLM is."""


class _Layer(NamedTuple):
    """One tensor, its dimensions in the order of memory."""

    names: list[str]
    dtype: str
    view: Tensor
    """Its bytes."""
    order: list[int]
    """Which dimension of the tensor each of the view's is, after the first."""
    page_bytes: int


class PagedBlocks:
    """The blocks of one rank's caches."""

    def __init__(self, caches: Mapping[str, Tensor], blocks: int) -> None:
        """``blocks``: how many there are. InvalidArgumentError for caches that are no blocks of bytes."""
        self.blocks = blocks
        self._layers: list[_Layer] = []
        seen: dict[object, list[str]] = {}
        for name, tensor in caches.items():
            if not hasattr(tensor, "data_ptr"):
                msg = f"layer {name}: its cache is a {type(tensor).__name__}, not one tensor: no page can be made of it"
                raise InvalidArgumentError(msg)
            where = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()))
            if where in seen:
                seen[where].append(name)
                continue
            seen[where] = [name]
            self._layers.append(_layer(seen[where], tensor, blocks))
        if not self._layers:
            msg = "the engine has no KV caches"
            raise InvalidArgumentError(msg)
        self.page_bytes = sum(layer.page_bytes for layer in self._layers)

    def fields(self) -> list[list[object]]:
        """What gives a page's bytes their meaning: per tensor its layers, type, sizes and their order in memory."""
        return [
            [layer.names, layer.dtype, layer.view.shape[0] // self.blocks, list(layer.view.shape[1:]), layer.order]
            for layer in self._layers
        ]

    def read(self, blocks: Sequence[int]) -> Tensor:
        """A copy of these blocks: bytes [n, page_bytes] on the CPU."""
        import torch  # noqa: PLC0415  # only an engine has tensors

        parts = [layer.view.index_select(0, self._rows(layer, blocks)).reshape(len(blocks), -1) for layer in self._layers]
        return torch.cat(parts, dim=1).cpu()

    def write(self, blocks: Sequence[int], pages: Tensor) -> None:
        """Put pages [n, page_bytes] into these blocks."""
        at = 0
        pages = pages.to(self._layers[0].view.device)
        for layer in self._layers:
            rows = self._rows(layer, blocks)
            part = pages[:, at : at + layer.page_bytes].reshape(len(rows), *layer.view.shape[1:])
            layer.view.index_copy_(0, rows, part)
            at += layer.page_bytes

    def blank(self, n: int) -> Tensor:
        """Memory for ``n`` pages."""
        import torch  # noqa: PLC0415  # see above

        return torch.empty((n, self.page_bytes), dtype=torch.uint8)

    def _rows(self, layer: _Layer, blocks: Sequence[int]) -> Tensor:
        """Where these blocks are in a layer's tensor."""
        import torch  # noqa: PLC0415  # see above

        first = torch.tensor(blocks, dtype=torch.int64)
        parts = layer.view.shape[0] // self.blocks
        if parts > 1:
            first = (first[:, None] * parts + torch.arange(parts)).reshape(-1)
        return first.to(layer.view.device)


def _layer(names: list[str], tensor: Tensor, blocks: int) -> _Layer:
    """A layer's tensor with the dimensions that lie furthest apart first, as bytes."""
    import torch  # noqa: PLC0415  # only an engine has tensors

    order = sorted(range(1, tensor.dim()), key=lambda dim: (-tensor.stride(dim), dim))
    if not order or not tensor.shape[0] or tensor.shape[0] % blocks or tensor.stride(order[-1]) != 1:
        shape, strides = tuple(tensor.shape), tensor.stride()
        msg = f"layer {names[0]}: a cache of shape {shape} and strides {strides} does not hold {blocks} blocks of bytes"
        raise InvalidArgumentError(msg)
    view = tensor.permute(0, *order).view(torch.uint8)
    return _Layer(names, str(tensor.dtype), view, order, tensor.shape[0] // blocks * prod(view.shape[1:]))
