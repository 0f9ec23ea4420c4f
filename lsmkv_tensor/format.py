"""What one page of a model's KV cache is: how many tokens, which tensor, which bytes.

A namespace is opened with a :class:`PageFormat` and keeps it for good: pages of another shape, dtype or length under the same
name would be read as garbage, so opening it with another format is refused, naming what differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.anchored import GROUP_PAGES

if TYPE_CHECKING:
    import torch

__all__ = ["ANCHORED", "DTYPES", "PageFormat"]

ANCHORED = f"anchored sha256 group={GROUP_PAGES}"
"""How a namespace says that its keys are those of :mod:`lsmkv_tensor.keys.anchored`."""

DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1}
"""Element types pages may have, by their name in torch, and their size in bytes."""


@dataclass(frozen=True, slots=True)
class PageFormat:
    """The tensor of one page. Two formats are equal when all three fields are.

    ``page_tokens``: tokens a page covers, at least 1. ``shape``: of one page's tensor, such as
    ``(2, layers, page_tokens, kv_heads, head_dim)``; the order of its dimensions is the caller's. ``dtype``: torch dtype,
    one of bfloat16, float16, float32, float8_e4m3fn, float8_e5m2, int8. Anything else: InvalidArgumentError.
    """

    page_tokens: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __post_init__(self) -> None:
        """Refuse what cannot be a page, naming the field."""
        if not _positive(self.page_tokens):
            _refuse("page_tokens", self.page_tokens, "an integer of at least 1")
        if isinstance(self.shape, (str, bytes)) or not hasattr(self.shape, "__iter__"):
            _refuse("shape", self.shape, "a tuple of integers of at least 1")
        shape = tuple(self.shape)
        if not shape or not all(map(_positive, shape)):
            _refuse("shape", self.shape, "a tuple of integers of at least 1, not empty")
        object.__setattr__(self, "shape", tuple(map(int, shape)))
        if isinstance(self.dtype, str) or not str(self.dtype).startswith("torch.") or self.dtype_name not in DTYPES:
            _refuse("dtype", self.dtype, "one of " + ", ".join(f"torch.{name}" for name in DTYPES))

    @property
    def dtype_name(self) -> str:
        """The dtype without the module: ``"bfloat16"``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def page_bytes(self) -> int:
        """Bytes of one page."""
        return math.prod(self.shape) * DTYPES[self.dtype_name]

    def fields(self) -> dict[str, object]:
        """What a namespace of such pages is registered under: everything that gives its keys and bytes their meaning."""
        return {
            "keys": ANCHORED,
            "page_tokens": self.page_tokens,
            "shape": list(self.shape),
            "dtype": self.dtype_name,
        }


def _positive(value: object) -> bool:
    """Whether it is an integer of at least 1 (True is not)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise InvalidArgumentError for one field."""
    msg = f"PageFormat.{name} = {value!r}: must be {allowed}"
    raise InvalidArgumentError(msg)
