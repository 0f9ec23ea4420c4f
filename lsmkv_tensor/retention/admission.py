"""Admission policies: which offered pages are worth a write. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Prints, Seen, Sizes

__all__ = ["AdmitAll"]


class AdmitAll:
    """Stores whatever is offered."""

    def __init__(self, capacity_bytes: int, write_bytes_per_day: float | None = None) -> None:
        pass

    def sight(self, prints: Prints, now_s: float) -> None:
        """Nothing to learn."""

    def decide(self, prints: Prints, sizes: Sizes, now_s: float) -> NDArray[np.bool_]:  # noqa: ARG002 - the protocol's
        """Yes."""
        return np.ones(len(prints), dtype=np.bool_)

    def observe(self, seen: Seen) -> None:
        """Nothing to learn."""
