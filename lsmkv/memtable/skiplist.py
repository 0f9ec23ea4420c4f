"""An unrolled skiplist: a tower of express lanes over chunks of sorted keys.

::

    lane 2   head ------------------------> [m..r] ----------------> end
    lane 1   head ---------> [f..l] ------> [m..r] ----------------> end
    lane 0   head -> [a..e] -> [f..l] ----> [m..r] -> [s..z] -------> end

A textbook skiplist spends an object and a comparison in Python on every key (7.5 us an insert, measured). Here a node holds
up to NODE_KEYS keys in one list that ``bisect`` searches in C, and keys arrive in sorted batches, so that one walk down the
tower serves all keys that fall into a node. A node owns the half-open range from its ``low`` to the next node's ``low``;
``low`` never changes, and the head's is minus infinity (the empty key), so the head is an ordinary node.

Readers take no lock while one thread adds (all rely on the interpreter making one attribute read or write atomic):

* A node's list is never changed, only replaced, so a reader's copy of the reference is a consistent chunk.
* A full node is split from right to left: the pieces to its right are linked first, the last one first, and only then does
  the node's own list shrink. At every moment each key is found in the node that owns it or in a node before it.
* A forward reader takes the list *before* the link to the next node and skips what it has returned already. A backward
  reader takes the list before the link too and looks again if a new node now owns the end of its range.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

from lsmkv.env.rng import Rng
from lsmkv.memtable.keyset import FIRST_CHUNK_KEYS, MAX_CHUNK_KEYS

__all__ = ["NODE_KEYS", "SkipList"]

NODE_KEYS = 512
"""Most keys in a node. Copying a full node costs about 1 us, as much as the walk down a tower of a thousand nodes."""

FILL_KEYS = 320
"""Keys in the nodes made by a split: room to grow, without half-empty lists after an ascending load."""

MAX_HEIGHT = 16
"""Lanes. Each has a quarter of the nodes of the lane below: enough for 4^16 nodes."""


class _Node:
    """A chunk of keys, the lowest key it owns, and the next node in each lane it stands in."""

    __slots__ = ("keys", "low", "next")

    def __init__(self, keys: list[bytes], low: bytes, following: list[_Node | None]) -> None:
        """Own ``keys``, all at or above ``low``; ``following`` has one entry per lane."""
        self.keys = keys
        self.low = low
        self.next = following


class SkipList:
    """An ordered set of keys; see :class:`lsmkv.memtable.keyset.KeySet`."""

    __slots__ = ("_count", "_head", "_rng", "_top")

    def __init__(self, rng: Rng) -> None:
        """Draw the heights of nodes from ``rng``."""
        self._head = _Node([], b"", [None] * MAX_HEIGHT)
        self._top = 0  # highest lane in use
        self._count = 0
        self._rng = rng

    def __len__(self) -> int:
        """Number of keys."""
        return self._count

    def add(self, keys: list[bytes]) -> None:
        """Add ascending keys that are not in the set: one walk and one merged list per node they fall into."""
        at, n = 0, len(keys)
        while at < n:
            path = self._path(keys[at])
            following = path[0].next[0]
            stop = n if following is None else bisect_left(keys, following.low, at)
            self._merge(path, keys[at:stop])
            at = stop
        self._count += n

    def chunks(self, start: bytes | None, stop: bytes | None, *, reverse: bool) -> Iterator[list[bytes]]:
        """See :meth:`lsmkv.memtable.keyset.KeySet.chunks`."""
        return self._descend(start, stop) if reverse else self._ascend(start, stop)

    def _ascend(self, start: bytes | None, stop: bytes | None) -> Iterator[list[bytes]]:
        """Chunks from ``start`` on, node by node."""
        node: _Node | None = self._head if start is None else self._owner(start)
        size = FIRST_CHUNK_KEYS
        last: bytes | None = None
        while node is not None and (stop is None or node.low < stop):
            keys = node.keys  # before node.next: see the module's docstring
            low = 0 if start is None else bisect_left(keys, start)
            if last is not None:
                low = bisect_right(keys, last, low)
            high = len(keys) if stop is None else bisect_left(keys, stop, low)
            while low < high:
                yield keys[low : min(low + size, high)]
                low += size
                size = min(2 * size, MAX_CHUNK_KEYS)
            if high > 0 and (last is None or keys[high - 1] > last):
                last = keys[high - 1]
            node = node.next[0]

    def _descend(self, start: bytes | None, stop: bytes | None) -> Iterator[list[bytes]]:
        """Chunks from below ``stop`` backwards, each node found anew from the top of the tower."""
        size = FIRST_CHUNK_KEYS
        upper = stop
        while upper is None or (upper > b"" and (start is None or upper > start)):
            node = self._before(upper)
            keys = node.keys  # before node.next: see the module's docstring
            following = node.next[0]
            if following is not None and (upper is None or following.low < upper):
                continue  # split since it was found: a new node owns the end of the range
            high = len(keys) if upper is None else bisect_left(keys, upper)
            low = 0 if start is None else bisect_left(keys, start, 0, high)
            while high > low:
                yield keys[max(high - size, low) : high][::-1]
                high -= size
                size = min(2 * size, MAX_CHUNK_KEYS)
            upper = node.low

    def _owner(self, key: bytes) -> _Node:
        """The node whose range holds ``key``."""
        node = self._head
        for lane in range(self._top, -1, -1):
            following = node.next[lane]
            while following is not None and following.low <= key:
                node = following
                following = node.next[lane]
        return node

    def _before(self, upper: bytes | None) -> _Node:
        """The last node whose range begins below ``upper`` (None: the last node)."""
        node = self._head
        for lane in range(self._top, -1, -1):
            following = node.next[lane]
            while following is not None and (upper is None or following.low < upper):
                node = following
                following = node.next[lane]
        return node

    def _path(self, key: bytes) -> list[_Node]:
        """The last node at or before ``key`` in each lane; the first one owns it."""
        path = [self._head] * MAX_HEIGHT
        node = self._head
        for lane in range(self._top, -1, -1):
            following = node.next[lane]
            while following is not None and following.low <= key:
                node = following
                following = node.next[lane]
            path[lane] = node
        return path

    def _merge(self, path: list[_Node], new: list[bytes]) -> None:
        """Put ascending keys into the node that owns them, splitting it from right to left if it overflows."""
        node = path[0]
        old = node.keys
        merged = old + new
        if old and new[0] < old[-1]:
            merged.sort()  # two ascending runs: one linear merge in C
        if len(merged) <= NODE_KEYS:
            node.keys = merged
            return
        pieces = [merged[i : i + FILL_KEYS] for i in range(0, len(merged), FILL_KEYS)]
        for piece in reversed(pieces[1:]):
            height = self._height()
            right = _Node(piece, piece[0], [path[lane].next[lane] for lane in range(height)])
            for lane in range(height):
                path[lane].next[lane] = right
            self._top = max(self._top, height - 1)
        node.keys = pieces[0]

    def _height(self) -> int:
        """A height of at least 1; each further lane with probability 1/4."""
        bits = self._rng.getrandbits(2 * MAX_HEIGHT)
        height = 1
        while height < MAX_HEIGHT and not bits & 3:
            height += 1
            bits >>= 2
        return height

    def check(self) -> None:
        """Assert that lanes are ordered sub-lists of lane 0 and that every node owns exactly its keys."""
        nodes = [self._head]
        while (following := nodes[-1].next[0]) is not None:
            nodes.append(following)
        for node, right in zip(nodes, [*nodes[1:], None], strict=True):
            keys = node.keys
            assert len(keys) <= NODE_KEYS, "node overflows"
            assert all(a < b for a, b in pairwise(keys)), "keys of a node do not ascend"
            assert node is self._head or (keys and keys[0] >= node.low), "node holds keys below its range"
            assert right is None or not keys or keys[-1] < right.low, "node holds keys above its range"
            assert right is None or node is self._head or node.low < right.low, "lane 0 does not ascend"
        assert sum(len(node.keys) for node in nodes) == self._count, "count is wrong"
        for lane in range(MAX_HEIGHT):
            expected = [node for node in nodes[1:] if len(node.next) > lane]
            assert not expected or lane <= self._top, "a lane above the top is in use"
            walked, at = [], self._head.next[lane]
            while at is not None:
                walked.append(at)
                at = at.next[lane]
            assert walked == expected, f"lane {lane} skips or repeats nodes"
