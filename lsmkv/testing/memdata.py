"""One file of the in-memory disk: what a reader sees now, and what a power cut would leave.

Three things are kept: the contents readers see (the page cache), the contents that are durable, and the changes between the
two in order. A sync applies the changes to the durable contents. A sync that fails forgets them, as kernels do, which call the
pages clean: readers go on seeing what was written, and no later sync writes it. A power cut applies some of them: each write
survives, is lost, survives in part, or leaves only the longer file behind it (zeros where data should be), each on its own,
because neither file system nor drive promises an order between two syncs. Truncation and reservation survive or are lost.
"""

from __future__ import annotations

from lsmkv.env.rng import Rng

__all__ = ["BLOCK_BYTES", "Blocks", "MemoryData", "draw_survival"]

BLOCK_BYTES = 4096
"""Unit in which disk space is charged."""


class Blocks:
    """The disk space of an in-memory file system, in blocks. ``capacity`` None: endless."""

    __slots__ = ("capacity", "used")

    def __init__(self, capacity: int | None) -> None:
        """Start with everything free."""
        self.capacity = capacity
        self.used = 0

    def free(self) -> int:
        """Blocks left (a very large number if endless)."""
        return max(self.capacity - self.used, 0) if self.capacity is not None else 1 << 40


class MemoryData:
    """Contents of a file: visible, durable, and the changes between. ``links`` and ``opens`` keep it alive."""

    __slots__ = ("_blocks", "_disk", "_durable", "_pending", "cached", "data", "links", "opens")

    def __init__(self, disk: Blocks, data: bytes = b"") -> None:
        """A file whose ``data`` is durable, on ``disk``."""
        self.data = bytearray(data)
        self.cached: set[int] = set()
        """Blocks that were fetched, on disks that have a page cache of their own."""
        self.links = 0
        self.opens = 0
        self._disk = disk
        self._durable = bytearray(data)
        self._pending: list[tuple[int, bytes | None]] = []  # (offset, written) or (new size, None)
        self._blocks: set[int] = set()
        self._charge(0, len(data))

    def write(self, offset: int, data: bytes) -> int:
        """Write what fits on the disk; the number of bytes, fewer than asked (down to 0) when the disk is full."""
        data = data[: self._charge(offset, len(data))]
        if data:
            _put(self.data, offset, data)
            self._pending.append((offset, data))
        return len(data)

    def reserve(self, size: int) -> bool:
        """Charge the first ``size`` bytes and extend to them; False, with nothing changed, if the disk is too full."""
        wanted = set(range(-(-size // BLOCK_BYTES))) - self._blocks
        if len(wanted) > self._disk.free():
            return False
        self._charge(0, size)
        if size > len(self.data):
            self.resize(size)
        return True

    def resize(self, size: int) -> None:
        """Cut, giving space back, or extend by a hole."""
        _set_size(self.data, size)
        self._pending.append((size, None))
        gone = {block for block in self._blocks if block * BLOCK_BYTES >= size}
        self._blocks -= gone
        self._disk.used -= len(gone)

    def sync(self) -> None:
        """Make the visible contents durable."""
        for at, written in self._pending:
            if written is None:
                _set_size(self._durable, at)
            else:
                _put(self._durable, at, written)
        self._pending.clear()

    def forsake(self) -> None:
        """A sync failed: what was written since the last good one stays visible and is never made durable, but for its size."""
        sizes: list[tuple[int, bytes | None]] = [(at, None) for at, written in self._pending if written is None]
        if self._pending:
            self._pending = [*sizes, (len(self.data), None)]

    @property
    def unsynced(self) -> int:
        """Number of changes that a power cut may lose."""
        return len(self._pending)

    def release(self) -> None:
        """Give the disk space back if neither a name nor an open file holds the contents."""
        if not self.links and not self.opens:
            self._disk.used -= len(self._blocks)
            self._blocks = set()

    def after_crash(self, disk: Blocks, rng: Rng | None) -> MemoryData:
        """What a power cut leaves, as a new file on ``disk``: without ``rng`` exactly what was synced."""
        left = bytearray(self._durable)
        if rng is not None:
            chance = draw_survival(rng)
            for at, written in self._pending:
                if written is not None:
                    _survive(left, at, written, chance, rng)
                elif rng.random() < chance:
                    _set_size(left, at)
        return MemoryData(disk, bytes(left))

    def _charge(self, offset: int, size: int) -> int:
        """Take blocks for a range, as far as there are any; the number of bytes from ``offset`` that have one."""
        free = self._disk.free()
        for block in range(offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES)):
            if block in self._blocks:
                continue
            if not free:
                return max(block * BLOCK_BYTES - offset, 0)
            free -= 1
            self._blocks.add(block)
            self._disk.used += 1
        return size


def draw_survival(rng: Rng) -> float:
    """How likely one unsynced change survives this power cut: often all or nothing, else a random mixture."""
    kind = rng.getrandbits(2)
    return (0.0, 1.0, 0.5, rng.random())[kind]


def _survive(left: bytearray, offset: int, written: bytes, chance: float, rng: Rng) -> None:
    """Apply to ``left`` what a power cut leaves of one write."""
    n = len(written)
    if rng.random() < chance:
        _put(left, offset, written)
        return
    fate = rng.getrandbits(2)
    cut = int(rng.random() * (n + 1))
    if fate == 0:  # the first bytes reached the disk
        _put(left, offset, written[:cut])
    elif fate == 1:  # the last bytes did, the first did not
        _put(left, offset + cut, written[cut:])
    elif fate == 2 and offset + n > len(left):  # the new size did, the data did not
        _set_size(left, offset + n)


def _put(target: bytearray, offset: int, data: bytes) -> None:
    """Write into a bytearray, zeros filling a gap before ``offset``."""
    if not data:
        return
    if offset > len(target):
        _set_size(target, offset)
    target[offset : offset + len(data)] = data


def _set_size(target: bytearray, size: int) -> None:
    """Cut or extend with zeros."""
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))
