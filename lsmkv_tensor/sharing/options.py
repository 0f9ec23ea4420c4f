"""How a store takes part in sharing: one frozen record; every field says default, unit and effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.sharing.members import checked_member

__all__ = ["Sharing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Whom to follow, and how closely. All fields are fixed while a store is open."""

    follow: Literal["siblings"] | Sequence[str] = "siblings"
    """"siblings": every other member under the root, also those that join later. Names: these members, whether or not they
    are there yet. An empty sequence: nobody."""
    refresh_s: float = 0.1
    """Seconds after which a read looks at a sibling for news before it answers. A page that is missing makes it look at once
    (``miss_refresh_s``)."""
    miss_refresh_s: float = 0.0
    """Age in seconds up to which the last look at a sibling is good enough when a page is missing. 0: a miss is never told
    before every sibling was looked at. A look without news takes about 15 us, one with news 50 us a sibling."""
    discover_s: float = 1.0
    """Seconds after which a read lists the root for siblings that came or went. On a miss ``refresh_s`` counts instead."""
    store_held: bool = False
    """Whether pages that a sibling holds are stored here too. False: one copy among all. True: every member keeps what it was
    given (twice the bytes; its hits do not depend on the others)."""
    block_cache_bytes: int = 8 << 20
    """Bytes of decoded index blocks kept in memory for each sibling."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        for name in ("refresh_s", "miss_refresh_s", "discover_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                _refuse(name, value, "a number of at least 0")
        if isinstance(self.block_cache_bytes, bool) or not isinstance(self.block_cache_bytes, int) or self.block_cache_bytes < 0:
            _refuse("block_cache_bytes", self.block_cache_bytes, "an integer of at least 0")
        if not isinstance(self.store_held, bool):
            _refuse("store_held", self.store_held, "True or False")
        if self.follow != "siblings":
            if isinstance(self.follow, str) or not isinstance(self.follow, Sequence):
                _refuse("follow", self.follow, '"siblings" or a sequence of member names')
            for name in self.follow:
                checked_member(name)

    def follows(self, member: str) -> bool:
        """Whether a member of this name is to be followed."""
        return self.follow == "siblings" or member in self.follow


def _refuse(name: str, value: object, allowed: str) -> None:
    """InvalidArgumentError naming the field, its value and what is allowed."""
    msg = f"Sharing.{name} = {value!r}: must be {allowed}"
    raise InvalidArgumentError(msg)
