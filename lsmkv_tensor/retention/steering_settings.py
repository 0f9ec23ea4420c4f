"""What an owner may choose about the controller of a page store, and what that says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NoReturn

from lsmkv_tensor.errors import InvalidArgumentError

__all__ = ["HIT_WORTH", "StoreController", "StoreControllerStats", "Tried"]

HIT_WORTH = 8.0
"""Bytes written for a byte delivered: about what computing it again costs over what wearing a disk by it costs, or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreController:
    """A controller of admission and of what reclaiming moves: ``StoreOptions(controller=StoreController())``.

    Raises InvalidArgumentError naming the field.
    """

    mode: Literal["on", "advise", "off"] = "on"
    """"on": decide and act. "advise": decide and put it into the journal, change nothing. "off": neither."""
    hit_worth: float = HIT_WORTH
    """Bytes written that one delivered byte is worth (above 0). Large: hits above all; small: fewer writes."""
    window: float = 1 / 16
    """Capacities of pages asked for or offered between two looks (above 0, at most 1)."""
    patience: float = 1.0
    """What another setting must have been ahead, in capacities written, before it is changed to (above 0)."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.mode not in ("on", "advise", "off"):
            _refuse("mode", self.mode, '"on", "advise" or "off"')
        for name, most in (("hit_worth", math.inf), ("window", 1.0), ("patience", math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most or value == math.inf:
                _refuse(name, value, "a number above 0" + ("" if most == math.inf else f" and at most {most:g}"))


@dataclass(frozen=True, slots=True)
class Tried:
    """What a setting did, or would have done: bytes of pages, padding included."""

    delivered_bytes: float = 0.0
    """Of pages that it had when they were used."""
    written_bytes: float = 0.0
    """Of pages that it stored."""
    moved_bytes: float = 0.0
    """That reclaiming moved."""

    def value(self, hit_worth: float) -> float:
        """What that is worth, in bytes written: hits at their price, less the writes."""
        return hit_worth * self.delivered_bytes - self.written_bytes - self.moved_bytes

    def plus(self, other: Tried, weight: float = 1.0) -> Tried:
        """This, weighted, and that."""
        return Tried(
            self.delivered_bytes * weight + other.delivered_bytes,
            self.written_bytes * weight + other.written_bytes,
            self.moved_bytes * weight + other.moved_bytes,
        )


@dataclass(frozen=True, slots=True)
class StoreControllerStats:
    """The controller since opening (docs/controller.md)."""

    mode: str
    idle: str
    """Why it does nothing; empty: it looks and decides."""
    windows: int
    """Stretches of pages asked for and offered that it has looked at."""
    decisions: int
    admission: str
    """The setting in force: "all" or "second"."""
    advised_admission: str
    """What it would have; with mode "on" the same."""
    sampled: float
    """Part of the pages that the estimates are made from (1 / a power of two)."""
    asked_bytes: float
    """Of pages used or offered, lately: a window counts half after eight more. Estimated from the sample, as the next."""
    tried: Mapping[str, Tried]
    """What each admission would have done with them: estimated, by miniatures of the store."""
    ahead_bytes: float
    """What the other admission has been ahead lately, in bytes written; at ``patience`` capacities it is changed to."""
    moves: str
    """What reclaiming may move: "much" (0.3 bytes for each byte stored), "some" (half of that) or "little" (a quarter),
    and out of how live a segment (docs/controller.md)."""
    advised_moves: str
    """What it would have; with mode "on" the same."""
    moved_bytes: float
    """That reclaiming moved lately, as ``asked_bytes``: counted."""
    saved_bytes: float
    """Of moved pages that were used afterwards, each once: hits that moves saved, at most. Estimated."""
    journal_failures: int
    """Lines that could not be written."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return asdict(self)


def _refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise InvalidArgumentError naming the field."""
    raise InvalidArgumentError(f"StoreController.{name} = {value!r}: must be {allowed}")
