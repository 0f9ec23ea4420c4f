"""What an owner may choose about the controller."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

from lsmkv.controller.constants import SHARE, SIZE_RATIOS
from lsmkv.controller.prices import Prices
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.geometry import check_ratio

if TYPE_CHECKING:
    from lsmkv.cost.seconds import Seconds

__all__ = ["Adaptive"]

LEAST_MEMORY, MOST_MEMORY = 128 << 10, 1 << 40
"""Bytes of the smallest and the largest budget for memtable and filters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """A controller that shapes the tree after what is asked of it: ``Options(controller=Adaptive())``.

    Raises InvalidArgumentError naming the field.
    """

    mode: Literal["on", "advise", "off"] = "on"
    """"on": decide and act. "advise": decide and put it into the journal, never touch the tree. "off": neither."""
    size_ratios: tuple[int, ...] = SIZE_RATIOS
    """Size ratios to choose from, each 2 to 64. Another one than these is left when one of these pays for the change."""
    transition_share: float = SHARE
    """At most this part of all I/O (0 to 1) goes into merges that the controller wants; 0: it merges nothing of its own accord
    and keeps the size ratio."""
    space_limit: float | None = None
    """Most bytes in tables per live byte when keys are overwritten (at least 1): shapes whose worst case ``Z + 1/T`` is above it
    are not chosen, but leveling. None: no limit; right where keys are written once."""
    memory_bytes: int | None = None
    """Bytes for the memtable that takes writes and the filters of all tables together, at least 128 KiB: the controller splits
    them, by ``memtable_bytes`` and ``filter_bits_per_key`` of the options in force. None: both stay as they are."""
    prices: Prices = field(default_factory=Prices)
    """What operations cost, in block fetches."""
    seconds: Seconds | None = None
    """What they take on this machine (``lsmkv.cost.calibration()``): memory is then split by seconds, not by blocks. None: by
    ``prices``. Only with ``memory_bytes``."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.mode not in ("on", "advise", "off"):
            _refuse("mode", self.mode, '"on", "advise" or "off"')
        if not isinstance(self.size_ratios, tuple) or not self.size_ratios:
            _refuse("size_ratios", self.size_ratios, "a tuple of size ratios")
        for ratio in self.size_ratios:
            check_ratio(ratio)
        if not _number(self.transition_share) or not 0 <= self.transition_share <= 1:
            _refuse("transition_share", self.transition_share, "a number from 0 to 1")
        if self.space_limit is not None and (not _number(self.space_limit) or not self.space_limit >= 1):
            _refuse("space_limit", self.space_limit, "a number of at least 1, or None")
        budget = self.memory_bytes
        if budget is not None and (
            isinstance(budget, bool) or not isinstance(budget, int) or not LEAST_MEMORY <= budget <= MOST_MEMORY
        ):
            _refuse("memory_bytes", budget, f"an integer from {LEAST_MEMORY} to {MOST_MEMORY}, or None")
        if not isinstance(self.prices, Prices):
            _refuse("prices", self.prices, "lsmkv.controller.Prices(...)")
        if self.seconds is not None:
            _check_seconds(self.seconds, budget)


def _check_seconds(seconds: object, budget: int | None) -> None:
    """Refuse what are no seconds, and seconds that would serve nothing."""
    from lsmkv.cost.seconds import Seconds  # noqa: PLC0415 - few stores are told any

    if not isinstance(seconds, Seconds):
        _refuse("seconds", seconds, "lsmkv.cost.Seconds(...), as lsmkv.cost.calibration() gives it, or None")
    if budget is None:
        _refuse("seconds", seconds, "None without memory_bytes: they only serve to split that")


def _number(value: object) -> bool:
    """Whether it is one."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise InvalidArgumentError naming the field."""
    raise InvalidArgumentError(f"Adaptive.{name} = {value!r}: must be {allowed}")
