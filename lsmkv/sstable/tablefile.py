"""An open table file: what is read once at open, and checked blocks on demand.

Every error of the machine becomes IOFailedError, every wrong byte CorruptionError; nothing read from the file is trusted
before its checksum matched.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from lsmkv.base.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES
from lsmkv.env.fs import File, FileSystem, read_exact
from lsmkv.errors import CorruptionError, io_failed
from lsmkv.sstable.block import Block
from lsmkv.sstable.bloom import MAX_PROBES, Bloom
from lsmkv.sstable.compression import CODECS, Compression, decompress
from lsmkv.sstable.fences import decode_index
from lsmkv.sstable.layout import (
    FILTER,
    FOOTER_BYTES,
    FRAME,
    FRAME_BYTES,
    PROPERTIES,
    Footer,
    open_frame,
    parse_footer,
)
from lsmkv.sstable.patterns import Kinds
from lsmkv.sstable.quick import Layout, Value, value_in
from lsmkv.version.shape import TableMeta

__all__ = ["TableFile", "TableProperties"]

TAIL_BYTES = 64 << 10
"""Read at once from the end of the file: a small table's filter and index lie within, so it opens with one read."""


LARGEST_ENTRY = MAX_KEY_BYTES + MAX_VALUE_BYTES + 4096
"""A block exceeds twice the size it aims at (tags and ends of tiny entries) by no more than one entry."""


@dataclass(frozen=True, slots=True)
class TableProperties:
    """What a table says of itself."""

    meta: TableMeta
    key_width: int
    """Length of every key, or -1 if they differ."""
    block_bytes: int
    """What its blocks aimed at."""
    blocks: int
    compression: Compression


class TableFile:
    """The checked frame structure of one table. Thread-safe: all reads are positional.

    I/O: at open one or two reads (footer, properties, index, filter).

    Raises:
        IOFailedError: the file cannot be opened or read.
        CorruptionError: it is damaged, or not table ``number``.
        FormatTooNewError: written by a later version.
    """

    def __init__(self, fs: FileSystem, path: str, number: int) -> None:
        self.path = path
        self.number = number
        self._fs = fs
        try:
            file: File = fs.open(path)
        except OSError as error:
            raise io_failed("open table", path, error) from error
        self.pread = file.pread  # the only reference to the file: whoever reads keeps it open
        self._close = file.close
        try:
            self._load(file)
        except BaseException:
            file.close()
            raise

    def _load(self, file: File) -> None:
        """Read and check everything but the blocks."""
        try:
            size = file.size()
        except OSError as error:
            raise io_failed("read table", self.path, error) from error
        start = max(0, size - TAIL_BYTES)
        tail = self._read(start, size)
        self.load_reads, self.load_bytes = 1, len(tail)
        footer = parse_footer(self.path, size, tail[-FOOTER_BYTES:], self.number)
        if footer.filter_at < start:
            start, tail = footer.filter_at, self._read(footer.filter_at, size)
            self.load_reads, self.load_bytes = 2, self.load_bytes + len(tail)
        view = memoryview(tail)[footer.filter_at - start :]
        self.footer = footer
        parts = []
        stops = (footer.index_at, footer.properties_at, footer.file_bytes - FOOTER_BYTES)
        for at, stop in zip(footer[1:4], stops, strict=True):
            stored, raw = open_frame(self.path, self.number, at, view[at - footer.filter_at : stop - footer.filter_at])
            if len(stored) != raw:
                raise CorruptionError(self.path, at, "filter, index and properties are never compressed")
            parts.append(stored)
        self.filter, self.filter_bits = _load_filter(self.path, footer.filter_at, parts[0])
        self.offsets, self.fences = decode_index(self.path, footer.index_at, parts[1], footer.filter_at)
        self.properties = _load_properties(self.path, footer, parts[2], self.filter_bits)
        if self.properties.blocks != len(self.fences):
            raise CorruptionError(self.path, footer.properties_at, "properties and index disagree on the number of blocks")
        self.sums = array("Q", bytes(8 * len(self.fences)))
        """Of the frames that were checked and are used as they are, the digest of all of each; 0: of the others."""
        self.layouts: list[Layout | None] = [None] * len(self.fences)
        """Where things are in the frames that were checked and are used as they are."""
        self.kinds = Kinds(len(self.fences))
        """The same for many blocks at once."""
        self._largest_block = 2 * self.properties.block_bytes + LARGEST_ENTRY

    def _read(self, start: int, stop: int) -> bytes:
        """The bytes start..stop-1 of the file."""
        try:
            return read_exact(self, stop - start, start)
        except OSError as error:
            raise io_failed("read table", self.path, error) from error
        except EOFError as error:
            raise CorruptionError(self.path, start, f"file ends within the {stop - start} bytes wanted here") from error

    @property
    def blocks(self) -> int:
        """Number of data blocks."""
        return len(self.fences)

    def block_extent(self, index: int) -> int:
        """Bytes block ``index`` takes in the file."""
        return self.offsets[index + 1] - self.offsets[index]

    def block(self, index: int) -> Block:
        """Read and check one block.

        I/O: one read.

        Raises:
            IOFailedError: the read failed.
            CorruptionError: the block is damaged.
        """
        at = self.offsets[index]
        data = self._read(at, self.offsets[index + 1])
        if xxh3_64_intdigest(data) == self.sums[index]:
            return Block(data, self.path, at, FRAME_BYTES)
        block = self._decode(at, data)
        self._know(index, data, block)
        return block

    def value(self, index: int, key: bytes) -> tuple[Value, bytes]:
        """The newest value of ``key`` as ``Block.value``, from block ``index``, and the block's frame for :meth:`from_frame`.

        What :meth:`block` and ``Block.value`` do, for a block that is not kept, in half the time: of a frame that was checked
        once its own digest and its layout are remembered, so that the next reader need not take it apart.

        I/O and errors as :meth:`block`.
        """
        at = self.offsets[index]
        size = self.offsets[index + 1] - at
        data = self.part(at, size)
        if xxh3_64_intdigest(data) == self.sums[index]:
            layout = self.layouts[index]
            if layout is not None:
                value = value_in(data, layout, key)
                if value is not None:
                    return value, data
        elif len(data) != size:
            data = self._read(at, at + size)
        block = self._decode(at, data)
        self._know(index, data, block)
        return block.value(key), data

    def frame(self, index: int) -> tuple[bytes, Layout | None, int, int]:
        """A checked block as it is: payload, where things are in it (None: only a Block can tell), its start, the bytes read.

        I/O and errors as :meth:`block`.
        """
        at = self.offsets[index]
        size = self.offsets[index + 1] - at
        data = self.part(at, size)
        if xxh3_64_intdigest(data) == self.sums[index]:
            return data, self.layouts[index], FRAME_BYTES, size
        return *self.opened(index, data), size

    def opened(self, index: int, data: bytes) -> tuple[bytes, Layout | None, int]:
        """:meth:`frame` of bytes that were read already, and not checked. I/O: one read if they are too few."""
        at, stop = self.offsets[index : index + 2]
        if len(data) != stop - at:
            data = self._read(at, stop)
        block = self._decode(at, data)
        self._know(index, data, block)
        return block.payload, block.layout, FRAME_BYTES if block.in_place else 0

    def stretch(self, start: int, stop: int) -> tuple[bytes, list[bool]]:
        """The frames of blocks ``start`` to ``stop - 1`` end to end, and which of them were checked before and are sound.

        I/O: one read. Raises IOFailedError.
        """
        offsets, sums = self.offsets, self.sums
        at = offsets[start]
        data = self.part(at, offsets[stop] - at)
        if stop - start == 1:
            return data, [xxh3_64_intdigest(data) == sums[start]]
        whole = memoryview(data)
        return data, [xxh3_64_intdigest(whole[offsets[i] - at : offsets[i + 1] - at]) == sums[i] for i in range(start, stop)]

    def part(self, at: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``at``, not checked: for who can tell right from wrong bytes. I/O: one read."""
        try:
            return self.pread(size, at)
        except OSError as error:
            raise io_failed("read table", self.path, error) from error

    def _know(self, index: int, data: bytes, block: Block) -> None:
        """Remember a frame that was checked and is used as it is (a compressed one must be taken apart every time)."""
        if block.payload is data:
            self.layouts[index] = block.layout
            self.sums[index] = xxh3_64_intdigest(data)
            if block.layout is not None and not (index and block.key(0) == self.fences[index - 1]):
                self.kinds.know(index, block.layout)

    def from_payload(self, index: int, payload: bytes, start: int) -> Block:
        """The block that :meth:`frame` gave the payload and its start of."""
        return Block(payload, self.path, self.offsets[index], start)

    def from_frame(self, index: int, data: bytes) -> Block:
        """The block of a frame that :meth:`value` gave back, so it is checked. Raises CorruptionError if it makes no sense."""
        at = self.offsets[index]
        if FRAME.unpack_from(data)[2] == len(data) - FRAME_BYTES:  # not compressed
            return Block(data, self.path, at, FRAME_BYTES)
        return self._decode(at, data)

    def _decode(self, at: int, data: bytes | memoryview) -> Block:
        """Check and decode the block frame at ``at``."""
        stored, raw = open_frame(self.path, self.number, at, data)
        if raw > self._largest_block:
            raise CorruptionError(self.path, at, f"block of {raw} bytes is larger than any this table can hold")
        if type(data) is bytes and len(stored) == raw:
            return Block(data, self.path, at, FRAME_BYTES)
        try:
            payload = decompress(stored, raw)
        except ValueError as error:
            raise CorruptionError(self.path, at, str(error)) from error
        return Block(payload, self.path, at)

    def block_runs(self, start: int, stop: int, chunk_bytes: int) -> Iterator[list[Block]]:
        """Blocks start..stop-1 in order, some per step: as many whole blocks as ``chunk_bytes`` holds, at least one.

        I/O: one read a step. Errors as :meth:`block`.
        """
        offsets = self.offsets
        while start < stop:
            end = start + 1
            while end < stop and offsets[end + 1] - offsets[start] <= chunk_bytes:
                end += 1
            base = offsets[start]
            data = memoryview(self._read(base, offsets[end]))
            yield [self._decode(offsets[b], data[offsets[b] - base : offsets[b + 1] - base]) for b in range(start, end)]
            start = end

    def rest(self) -> None:
        """Give the descriptor back, although somebody may go on reading: from now on each read opens the file and closes it.

        A read in flight keeps the file open until it is done. The file must not be unlinked as long as anybody reads.
        """
        self.pread, self._close = self._visit, _nothing

    def _visit(self, size: int, offset: int) -> bytes:
        """One read of a file that is at rest. I/O: 1 open, 1 read, 1 close."""
        file = self._fs.open(self.path)
        try:
            return file.pread(size, offset)
        finally:
            file.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._close()


def _nothing() -> None:
    """Close what is not open."""


def _load_filter(path: str, at: int, data: memoryview) -> tuple[Bloom | None, int]:
    """The filter and its bits, from its checked frame."""
    if len(data) < FILTER.size:
        raise CorruptionError(path, at, "filter is shorter than its header")
    bits, probes, zero = FILTER.unpack_from(data)
    if zero or len(data) - FILTER.size != (bits + 7) // 8 or probes > MAX_PROBES or (bits > 0) != (probes > 0):
        raise CorruptionError(path, at, f"filter of {bits} bits and {probes} probes in {len(data)} bytes makes no sense")
    return (Bloom(data[FILTER.size :].tobytes(), bits, probes), bits) if bits else (None, 0)


def _load_properties(path: str, footer: Footer, data: memoryview, filter_bits: int) -> TableProperties:
    """The properties, from their checked frame."""
    at = footer.properties_at
    if len(data) < PROPERTIES.size:
        raise CorruptionError(path, at, "properties are shorter than their record")
    fields = PROPERTIES.unpack_from(data)
    entries, tombstones, min_seq, max_seq, raw_bytes, key_width, block_bytes, blocks, codec, small, large, zero = fields
    if zero or codec >= len(CODECS) or len(data) != PROPERTIES.size + small + large or not entries or key_width < -1:
        raise CorruptionError(path, at, "properties make no sense")
    smallest = data[PROPERTIES.size : PROPERTIES.size + small].tobytes()
    largest = data[PROPERTIES.size + small :].tobytes()
    meta = TableMeta(
        footer.number,
        footer.file_bytes,
        entries,
        tombstones,
        smallest,
        largest,
        min_seq,
        max_seq,
        raw_bytes,
        filter_bits,
    )
    return TableProperties(meta, key_width, block_bytes, blocks, CODECS[codec])
