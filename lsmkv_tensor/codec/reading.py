"""From a stored payload back to the page, by the number recorded with it."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv_tensor.codec.base import FP8, INT8, SHUFFLE_ZSTD
from lsmkv_tensor.codec.quantised import decode_quantised
from lsmkv_tensor.codec.shuffle import decode_shuffled

__all__ = ["decode", "is_known"]


def is_known(codec: int) -> bool:
    """Whether :func:`decode` takes this number; a newer library may have written others."""
    return codec in (SHUFFLE_ZSTD, INT8, FP8)


def decode(codec: int, payload: memoryview, spans: Sequence[memoryview]) -> bool:
    """Bring the page of a payload into ``spans`` (writable, of together its length); False if that cannot be: never raises.

    The spans' contents are undefined after False.
    """
    assert is_known(codec)
    return decode_shuffled(payload, spans) if codec == SHUFFLE_ZSTD else decode_quantised(codec, payload, spans)
