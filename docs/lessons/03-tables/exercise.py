"""Lesson 3, starter code: a Bloom filter with one probe."""

from lsmkv.base.hashing import hash_key  # hash_key(key) -> (h1, h2): two independent numbers of 64 bits


class Bloom:
    """A set of keys that may say yes to a key it does not hold, never no to one it holds."""

    def __init__(self, entries: int, bits_per_key: float) -> None:
        """Room for ``entries`` keys; takes ``entries * bits_per_key`` bits and no more."""
        self.bits = max(64, int(entries * bits_per_key))
        self.data = bytearray(-(-self.bits // 8))

    def places(self, key: bytes) -> list[int]:
        """The bits that belong to a key."""
        # YOUR TURN: one place is too few, and hundreds are too many: they fill the filter up. Which number is best? You need
        # not hash again for each: (h1 + i * h2) modulo the bits is random enough for i = 0, 1, 2 ...
        h1, _h2 = hash_key(key)
        return [h1 % self.bits]

    def add(self, key: bytes) -> None:
        """Remember a key."""
        for place in self.places(key):
            self.data[place >> 3] |= 1 << (place & 7)

    def may_contain(self, key: bytes) -> bool:
        """False: certainly not added."""
        return all(self.data[place >> 3] >> (place & 7) & 1 for place in self.places(key))
