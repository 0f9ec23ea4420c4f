"""Sizes as people write them: ``512MiB``, ``2GB``, ``1.5T``."""

from __future__ import annotations

from typing import Final

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["bytes_of"]

UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "KB": 10**3, "KIB": 1 << 10, "M": 1 << 20, "MB": 10**6, "MIB": 1 << 20}
UNITS_LARGE: Final = {"G": 1 << 30, "GB": 10**9, "GIB": 1 << 30, "T": 1 << 40, "TB": 10**12, "TIB": 1 << 40}


def bytes_of(text: str, option: str) -> int:
    """Bytes from a number with a unit. InvalidArgumentError naming the option if it is none of at least one byte."""
    digits = text.strip().rstrip("BbIiKkMmGgTt ")
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        count = int(float(digits) * (UNITS | UNITS_LARGE)[unit])
    except (ValueError, KeyError, OverflowError):
        count = 0
    if count < 1:
        msg = f"{option} {text!r}: a size such as 512MiB or 2GB is wanted"
        raise InvalidArgumentError(msg)
    return count
