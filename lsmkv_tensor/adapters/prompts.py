"""Prompts as rows of a batch: which columns are tokens, and which are padding on the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.tokens import token_ids

__all__ = ["Prompts", "read_prompts"]


class Prompts(NamedTuple):
    """Sequences that end in the same column of a batch."""

    rows: list[NDArray[np.uint32]]
    """The tokens of each, without padding."""
    starts: list[int]
    """The column where each begins: how much padding it has."""
    columns: int
    """Columns of the batch."""

    @property
    def alone(self) -> bool:
        """Whether it is one sequence without padding."""
        return len(self.rows) == 1 and not self.starts[0]

    def reach(self, tokens: Sequence[int]) -> int:
        """How many columns are known in every row, if so many tokens of each are; at least the last is left to compute."""
        known = min((start + n for start, n in zip(self.starts, tokens, strict=True)), default=0)
        return min(known, self.columns - 1)

    def longer(self, ids: Any, ends: Sequence[int]) -> Prompts:  # noqa: ANN401  # a tensor, an array or a list
        """The same sequences with what was generated: ``ids`` [rows, columns], each up to and with its first end token."""
        table = _table(ids)
        rows = []
        for row, start in zip(table, self.starts, strict=True):
            found = np.flatnonzero(np.isin(row[self.columns :], ends))
            stop = self.columns + int(found[0]) + 1 if len(found) else len(row)
            rows.append(token_ids(row[start:stop]))
        return Prompts(rows, self.starts, table.shape[1])


def read_prompts(input_ids: Any, attention_mask: Any = None) -> Prompts:  # noqa: ANN401  # tensors, arrays or lists
    """Prompts of shape [rows, columns] or [columns], and the mask that says which are tokens (None: all).

    Raises InvalidArgumentError for a mask of another shape, and for padding that is not on the left.
    """
    if attention_mask is None and isinstance(input_ids, (list, tuple)) and not any(hasattr(x, "__len__") for x in input_ids):
        ids = token_ids(input_ids)  # which looks for bools, too
        return Prompts([ids], [0], len(ids))
    table = _table(input_ids)
    if attention_mask is None:
        return Prompts([token_ids(row) for row in table], [0] * len(table), table.shape[1])
    mask = _table(attention_mask != 0 if hasattr(attention_mask, "detach") else attention_mask) != 0  # NumPy has no bfloat16
    if mask.shape != table.shape:
        msg = f"attention_mask has shape {list(mask.shape)}, input_ids {list(table.shape)}"
        raise InvalidArgumentError(msg)
    starts = (table.shape[1] - mask.sum(axis=1)).tolist()
    for i, start in enumerate(starts):
        if not mask[i, start:].all():
            msg = f"attention_mask: row {i} has padding that is not on its left (tokenizer.padding_side = 'left')"
            raise InvalidArgumentError(msg)
    return Prompts([token_ids(row[start:]) for row, start in zip(table, starts, strict=True)], starts, table.shape[1])


def _table(values: Any) -> NDArray[Any]:  # noqa: ANN401  # as above
    """Two dimensions, on the CPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    table = np.asarray(values)
    if table.ndim not in (1, 2):
        msg = f"input_ids has shape {list(table.shape)}: must be [rows, columns] or [columns]"
        raise InvalidArgumentError(msg)
    return table[None] if table.ndim == 1 else table
