"""Codecs by name: what ``codec=`` of a page store's namespace and of a tensor store may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from lsmkv_tensor.codec.base import FP8, INT8, Codec, Encoded
from lsmkv_tensor.codec.floats import FLOATS
from lsmkv_tensor.codec.quantised import Quantised, grid_of
from lsmkv_tensor.codec.shuffle import ShuffleZstd
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import DTYPES, PageFormat

__all__ = ["LOSSLESS", "LOSSY", "lossless_codec", "namespace_codec", "tensor_codec"]

LOSSLESS = ("raw", "shuffle_zstd")
"""Names of codecs that give back every bit; the first is the default."""
LOSSY = {"int8": INT8, "fp8": FP8}
"""Names of codecs that do not, and their numbers; see :mod:`lsmkv_tensor.codec.quantised`."""

_ITEM_BYTES = 2
"""Bytes of an element where nobody says: KV caches are mostly of bfloat16 or float16."""


class Raw:
    """The codec ``raw``: pages as they are."""

    name = "raw"
    lossy = False

    def encode(self, spans: Sequence[memoryview]) -> Encoded | None:
        """None."""
        del spans
        return None  # Codec: nothing saved


def lossless_codec(name: object, dtype: object = None) -> Codec:
    """The codec of this name for pages of bytes, of elements of ``dtype`` where that is one of DTYPES.

    InvalidArgumentError for a name that is none, and for a lossy one: only a tensor store knows what the bytes mean.
    """
    if name in LOSSY:
        _refuse(name, f"is lossy: only TensorStore.open takes it; here {_told(LOSSLESS)}")
    if name not in LOSSLESS:
        _refuse(name, f"must be {_told(LOSSLESS)}")
    if name == "raw":
        return Raw()
    return ShuffleZstd(DTYPES.get(dtype, _ITEM_BYTES) if isinstance(dtype, str) else _ITEM_BYTES)


def namespace_codec(codec: object, fields: object) -> Codec:
    """The codec a page store's namespace with these fields writes with: by name (their dtype counts), or one made before."""
    if isinstance(codec, Raw | ShuffleZstd | Quantised):
        return codec
    return lossless_codec(codec, fields.get("dtype") if isinstance(fields, Mapping) else None)


def tensor_codec(name: object, fmt: PageFormat) -> Codec:
    """The codec of this name for tensors of a format.

    InvalidArgumentError for a name that is none, and for a lossy one where elements are not floats of more than a byte.
    """
    if not isinstance(name, str) or name not in LOSSY:
        if name not in LOSSLESS:
            _refuse(name, f"must be {_told((*LOSSLESS, *LOSSY))}")
        return lossless_codec(name, fmt.dtype_name)
    if fmt.dtype_name not in FLOATS:
        _refuse(name, f"takes pages of {_told(tuple(FLOATS))}, not of {fmt.dtype_name}: choose {_told(LOSSLESS)}")
    lossless = lossless_codec("shuffle_zstd", fmt.dtype_name)
    return Quantised(name, LOSSY[name], grid_of(fmt.shape, fmt.page_tokens), fmt.dtype_name, lossless)


def _told(names: Sequence[str]) -> str:
    """Names to choose from."""
    return " or ".join(map(repr, names))


def _refuse(name: object, what: str) -> NoReturn:
    """Raise InvalidArgumentError."""
    msg = f"codec = {name!r}: {what}"
    raise InvalidArgumentError(msg)
