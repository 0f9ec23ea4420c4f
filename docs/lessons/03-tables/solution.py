"""Lesson 3, a solution: bits per key times ln 2 probes, so that half of the bits are set in the end."""

from math import log

from lsmkv.base.hashing import hash_key  # hash_key(key) -> (h1, h2): two independent numbers of 64 bits


class Bloom:
    """A set of keys that may say yes to a key it does not hold, never no to one it holds."""

    def __init__(self, entries: int, bits_per_key: float) -> None:
        """Room for ``entries`` keys; takes ``entries * bits_per_key`` bits and no more."""
        self.bits = max(64, int(entries * bits_per_key))
        self.data = bytearray(-(-self.bits // 8))
        # With k probes a bit stays 0 with probability e^(-k/b). The rate (1 - e^(-k/b))^k is least where that is one half.
        self.probes = max(1, round(bits_per_key * log(2)))

    def places(self, key: bytes) -> list[int]:
        """The bits that belong to a key."""
        h1, h2 = hash_key(key)
        return [(h1 + i * h2) % self.bits for i in range(self.probes)]

    def add(self, key: bytes) -> None:
        """Remember a key."""
        for place in self.places(key):
            self.data[place >> 3] |= 1 << (place & 7)

    def may_contain(self, key: bytes) -> bool:
        """False: certainly not added."""
        return all(self.data[place >> 3] >> (place & 7) & 1 for place in self.places(key))
