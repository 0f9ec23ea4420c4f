"""Token ids as the bytes that are hashed: unsigned 32-bit little-endian, end to end.

Lists, tuples, NumPy arrays and torch tensors (recognised without importing torch) all give the same bytes for the same ids,
so a prompt has one identity however the caller holds it.
"""

from __future__ import annotations

import array
import sys
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["MAX_TOKEN", "Tokens", "token_ids"]

MAX_TOKEN = (1 << 32) - 1
"""Largest token id."""

Tokens: TypeAlias = Any
"""A list or tuple of int, or a one-dimensional integer NumPy array or torch tensor (any device)."""


def token_ids(tokens: Tokens) -> NDArray[np.uint32]:
    """The ids as a contiguous little-endian uint32 array [n].

    Raises InvalidArgumentError for anything that is not a one-dimensional run of integers in 0..2^32-1; it names the first
    offending position. A list of 32,768 ids takes 0.5 ms, most of it looking for bools.
    """
    if isinstance(tokens, (list, tuple)):
        return _from_list(tokens)
    if hasattr(tokens, "data_ptr") and hasattr(tokens, "detach"):
        if "int" not in str(tokens.dtype):
            _refuse(f"a tensor of {tokens.dtype}")
        try:
            tokens = tokens.detach().cpu().numpy()
        except (NotImplementedError, TypeError, RuntimeError) as error:  # meta, sparse, quantised
            _refuse(f"a tensor without readable values ({error})")
    if not isinstance(tokens, (np.ndarray, array.array)):
        _refuse(f"a {type(tokens).__name__}")
    return _from_array(np.asarray(tokens))


def _from_list(tokens: list[Any] | tuple[Any, ...]) -> NDArray[np.uint32]:
    """Ids of a list or tuple."""
    try:
        ids = np.frombuffer(array.array("I", tokens), np.uint32)
    except (TypeError, OverflowError, ValueError):
        _refuse_element(tokens)
    kinds = set(map(type, tokens))
    if bool in kinds or np.bool_ in kinds:
        _refuse("a list with a bool in it (a mask, perhaps?)")
    return ids if sys.byteorder == "little" else ids.astype("<u4")


def _from_array(ids: NDArray[Any]) -> NDArray[np.uint32]:
    """Ids of an array of any integer type and byte order."""
    if ids.ndim != 1:
        _refuse(f"an array of shape {list(ids.shape)}")
    if ids.dtype.kind not in "iu" and ids.size:
        _refuse(f"an array of {ids.dtype}")
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) > MAX_TOKEN):
        _refuse_element(ids)
    return np.ascontiguousarray(ids, "<u4")


def _refuse_element(tokens: list[Any] | tuple[Any, ...] | NDArray[Any]) -> NoReturn:
    """Find the id that is none."""
    for i, token in enumerate(tokens):
        if not isinstance(token, (int, np.integer)) or not 0 <= token <= MAX_TOKEN:
            msg = f"tokens[{i}] = {token!r}: a token id is an integer from 0 to {MAX_TOKEN}"
            raise InvalidArgumentError(msg)
    _refuse("of a kind that cannot be converted")


def _refuse(what: str) -> NoReturn:
    """Raise InvalidArgumentError for tokens of the wrong kind."""
    msg = f"tokens must be a flat run of integers (list, tuple, 1-D integer array or tensor), not {what}"
    raise InvalidArgumentError(msg)
