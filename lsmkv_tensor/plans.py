"""Load or recompute: a prefix that is stored is worth loading only where that is faster than computing it.

Loading helps above ``KV bytes per token * prefill tokens per second``: 3-4 GB/s for a 32B model on two large GPUs, 10-20 MB/s
on a CPU. So the answer depends on the machine, and both sides of it are numbers of this machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import PageFormat
from lsmkv_tensor.runtime.estimate import LoadEstimate

__all__ = ["Plan", "plan_load"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What loading the stored prefix of a prompt would take, and what computing it would."""

    pages: int
    """Pages of the longest stored prefix."""
    tokens: int
    """Tokens they cover."""
    bytes: int
    load_s: float
    """Estimated from the loads this store has made; before the first, for a disk of the middle range."""
    recompute_s: float | None
    """At the configured prefill speed; None if there is none."""
    loads: int
    """Loads the estimate was learnt from."""

    @property
    def wins(self) -> Literal["load", "recompute"] | None:
        """The faster one; None if nothing is stored or no prefill speed is known."""
        if not self.pages or self.recompute_s is None:
            return None
        return "load" if self.load_s <= self.recompute_s else "recompute"


def plan_load(pages: int, fmt: PageFormat, loads: LoadEstimate, prefill_tokens_per_s: float | None) -> Plan:
    """The plan for a stored prefix of so many pages. InvalidArgumentError for a speed that is none."""
    speed = prefill_tokens_per_s
    if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < math.inf):
        msg = f"prefill_tokens_per_s = {speed!r}: must be a number above 0, or None for the store's option"
        raise InvalidArgumentError(msg)
    tokens, nbytes = pages * fmt.page_tokens, pages * fmt.page_bytes
    recompute_s = None if speed is None else tokens / speed
    return Plan(pages, tokens, nbytes, loads.seconds(nbytes), recompute_s, loads.batches)
