"""What is known of the siblings at one moment: frozen records."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["SharingStats", "SiblingStats"]


@dataclass(frozen=True, slots=True)
class SiblingStats:
    """One followed directory. Counts since this store was opened; times in seconds."""

    name: str
    followed: bool
    """False: it cannot be read at present, for the ``reason``; it is tried again after a pause."""
    reason: str
    """Why not; empty while it is followed."""
    pages: int
    """Pages it holds, all namespaces."""
    age_s: float
    """Since the last look at its index began: everything it acknowledged before that is seen. 0.0 if it is not followed."""
    hits: int
    """Pages it delivered to us."""
    read_bytes: int
    looks: int
    """Times its index was looked at for news."""
    news: int
    """Looks that found some."""
    retries: int
    """Pages looked up again because they had moved or gone while they were read."""
    unreadable: int
    """Pages whose bytes were not what its index said although nothing had changed: misses here; it is told nothing."""
    failures: int
    """Times it could not be followed any further: damage, a newer format, a failing disk."""


@dataclass(frozen=True, slots=True)
class SharingStats:
    """All that a store follows. Counts since it was opened."""

    root: str
    member: str | None
    """Our own name; None for a reader without a directory."""
    siblings: tuple[SiblingStats, ...]
    hits: int
    """Pages that siblings delivered."""
    misses: int
    """Pages asked of the siblings, because they are not here, and not delivered."""
    held_pages: int
    """Pages offered and not stored because a sibling holds them."""
    heard_pages: int
    """Pages of ours that siblings said they used (those that are not here included): our eviction knows."""
    lag_misses: int
    """Pages that were told missing and that a sibling had before its next look: lost to the follower's lag. Always 0 with
    ``Sharing.miss_refresh_s`` 0 while looks succeed."""
    listings: int
    """Times the root was listed."""

    @property
    def lag_s(self) -> float:
        """Age of the oldest look among the siblings that are followed, in seconds; 0.0 without any."""
        return max((s.age_s for s in self.siblings if s.followed), default=0.0)

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"lag_s": self.lag_s}
