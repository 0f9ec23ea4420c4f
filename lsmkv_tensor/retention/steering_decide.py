"""What the controller of a page store decides: books and a window in, books and perhaps a decision out. Pure.

Which admission is worth more is a question of a price: ``hit_worth`` bytes written for each byte delivered. In each window the
value of the other setting, less that of the one in force, is added up, never below nothing (Page's CUSUM, 1954). When the sum
has reached ``patience`` capacities written, the setting changes, and the sum begins anew: at most one change a window, and none
back before the opposite has been shown by as much. A part of the traffic's value is held against the other setting in each window
(:data:`SLACK`), so that chance does not add up to a reason where both are worth the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lsmkv_tensor.retention.steering_settings import Tried

__all__ = ["SLACK", "Books", "Decision", "decide"]

SLACK = 0.05
"""Part of what hits and writes of the setting in force are worth that another must be better by."""


@dataclass(frozen=True, slots=True)
class Books:
    """What is remembered from window to window."""

    setting: str
    """The admission in force, or that would be."""
    ahead_bytes: float = 0.0
    """What the other one has been ahead lately, in bytes written; never below 0."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of a setting."""

    what: str
    before: str
    after: str
    ahead_bytes: float
    """The evidence: what the new one has been ahead."""
    saves: float
    """What it was ahead in the last window, in bytes written for each byte that was asked for."""


def decide(
    books: Books, asked_bytes: float, tried: Mapping[str, Tried], hit_worth: float, patience_bytes: float
) -> tuple[Books, Decision | None]:
    """The books after a window in which so much was asked for, and the change of admission that is due.

    ``tried``: what each of the two settings did with it. No window, no evidence: nothing asked decides nothing.
    """
    (other,) = (name for name in tried if name != books.setting)
    now, then = tried[books.setting], tried[other]
    slack = SLACK * (hit_worth * now.delivered_bytes + now.written_bytes)
    gain = then.value(hit_worth) - now.value(hit_worth)
    ahead = max(books.ahead_bytes + gain - slack, 0.0)
    if ahead < patience_bytes or asked_bytes <= 0 or gain <= 0:
        return replace(books, ahead_bytes=ahead), None
    return Books(other), Decision("admission", books.setting, other, ahead, gain / asked_bytes)
