"""Writing a table: sorted entries in, one synced file out (format: :mod:`lsmkv.sstable.layout`)."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeAlias

import numpy as np

from lsmkv.base.columns import U64, Columns
from lsmkv.base.hashing import hash_column
from lsmkv.base.keys import MAX_SEQ
from lsmkv.base.pauses import UNMINDED, Pause
from lsmkv.env.fs import FileSystem, write_sized
from lsmkv.errors import InvalidArgumentError, io_failed
from lsmkv.sstable import bloom
from lsmkv.sstable.compression import CODECS, Compression, compress
from lsmkv.sstable.encode import ENTRY_OVERHEAD, cut, encode_blocks, entries_a_block, separators
from lsmkv.sstable.fences import encode_index, separator
from lsmkv.sstable.layout import FILTER, FOOTER_BYTES, PROPERTIES, Footer, pack_footer, seal_frame
from lsmkv.sstable.uniform import frames_of, suits
from lsmkv.version.shape import TableMeta

__all__ = ["TableBuilder"]

_Raw: TypeAlias = bytes  # the builder has a property named ``bytes``

WRITE_BYTES = 1 << 20
"""Encoded blocks gathered before they are written in one system call."""

FRAMED_BYTES = 4 << 20
"""Of blocks that are alike framed at once, and then written. Less would stay in the processor's cache, but each step of it asks
for the interpreter, for which somebody else then has to wake up."""

MAX_BLOCK_BYTES = 1 << 30
"""Largest block to aim at: with the largest entry on top, lengths still fit 32 bits."""


class TableBuilder:
    """Builds the file ``path``, which must not exist, from sorted entries.

    ``block_bytes`` is what one block aims at before compression (a larger entry has a block of its own).
    ``filter_bits_per_key`` 0 builds no filter. ``pause`` is entered while it writes and syncs.
    Finish with :meth:`finish` or :meth:`abandon`, exactly once.

    I/O: creates the file; writes of about 1 MiB as blocks fill.

    Raises:
        IOFailedError: the file cannot be created (NoSpaceError: disk full).
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        *,
        number: int,
        block_bytes: int,
        compression: Compression,
        filter_bits_per_key: float,
        pause: Pause = UNMINDED,
    ) -> None:
        if not 1 <= block_bytes <= MAX_BLOCK_BYTES:
            msg = f"block_bytes must be in 1..{MAX_BLOCK_BYTES}, not {block_bytes}"
            raise InvalidArgumentError(msg)
        if compression not in CODECS:
            msg = f"compression must be one of {CODECS}, not {compression!r}"
            raise InvalidArgumentError(msg)
        self._fs = fs
        self._path = path
        self._number = number
        self._block_bytes = block_bytes
        self._codec: Compression = compression
        self._bits_per_key = filter_bits_per_key
        self._pause = pause
        self._pending: Columns | None = None
        self._frames: list[_Raw | memoryview] = []
        self._gathered = 0
        self._written = 0
        self._offsets = [0]
        self._fences: list[bytes] = []
        self._hashes: list[U64] = []
        self._smallest = self._largest = b""
        self._key_width: int | None = None
        self._entries = self._tombstones = self._raw_bytes = self._max_seq = 0
        self._min_seq = MAX_SEQ
        try:
            self._file = fs.open(path, "create")
        except OSError as error:
            raise io_failed("create table", path, error) from error

    @property
    def bytes(self) -> int:
        """Size of the file so far: blocks written and gathered, and the entries not yet in a block."""
        return self._offsets[-1] + (self._pending.nbytes if self._pending is not None else 0)

    @property
    def entries(self) -> int:
        """Entries added so far."""
        return self._entries

    def add(self, columns: Columns) -> None:
        """Append entries that sort after all earlier ones (key ascending, then tag descending).

        I/O: one write per MiB of finished blocks.

        Raises:
            IOFailedError: a write failed; call :meth:`abandon`.
        """
        if not len(columns):
            return
        self._learn(columns)
        if self._pending is not None:
            columns = self._behind(self._pending, columns)
        bounds = cut(columns, self._block_bytes)
        self._encode(columns, bounds)
        self._pending = columns.slice(bounds[-1], len(columns)) if bounds[-1] < len(columns) else None

    def _learn(self, columns: Columns) -> None:
        """Take in what properties and filter say of these entries."""
        keys = columns.keys
        if not self._entries:
            self._smallest, self._key_width = keys[0], keys.width
        elif self._key_width != keys.width:
            self._key_width = -1
        self._largest = keys[len(keys) - 1]
        self._entries += len(columns)
        self._tombstones += len(columns) - int(np.count_nonzero(columns.tags & np.uint64(0xFF)))
        self._raw_bytes += keys.nbytes + columns.values.nbytes
        self._min_seq = min(self._min_seq, int(columns.tags.min()) >> 8)
        self._max_seq = max(self._max_seq, int(columns.tags.max()) >> 8)
        if self._bits_per_key > 0:
            self._hashes.append(hash_column(keys))

    def _behind(self, pending: Columns, columns: Columns) -> Columns:
        """What waits for its block and what comes now; of entries of one shape only what a full block does not take."""
        alike = suits(pending) and suits(columns) and pending.widths == columns.widths
        each = entries_a_block(pending.widths, self._block_bytes) if alike else 0
        missing = each - len(pending)
        if not alike or missing >= len(columns):
            return Columns.concat([pending, columns])
        self._encode(Columns.concat([pending, columns.slice(0, missing)]), [0, each])
        return columns.slice(missing, len(columns))

    def _encode(self, columns: Columns, bounds: list[int]) -> None:
        """Frame the full blocks and extend the fences."""
        if len(bounds) < 2:
            return
        if self._fences:
            self._fences[-1] = separator(self._fences[-1], columns.keys[0])
        self._fences += separators(columns.keys, bounds)
        each = bounds[1]
        if self._codec != "none" or not suits(columns) or bounds[-1] != each * (len(bounds) - 1):
            self._encode_each(columns, bounds)
            return
        step = each * max(1, FRAMED_BYTES // (each * (sum(columns.widths) + ENTRY_OVERHEAD)))
        for start in range(0, bounds[-1], step):
            part = columns.slice(start, min(start + step, bounds[-1]))
            frames = frames_of(part, each, self._number, self._written + self._gathered)
            if frames is None:
                self._encode_each(part, list(range(0, len(part) + 1, each)))
                continue
            self._frames += frames.buffers
            self._offsets += frames.ends.tolist()
            self._gathered = self._offsets[-1] - self._written
            if self._gathered >= WRITE_BYTES:
                self._write()

    def _encode_each(self, columns: Columns, bounds: list[int]) -> None:
        """Frame the full blocks one by one."""
        for payload in encode_blocks(columns, bounds):
            self._frame(payload, self._codec)
            self._offsets.append(self._offsets[-1] + len(self._frames[-1]))
            if self._gathered >= WRITE_BYTES:
                self._write()

    def _frame(self, raw: _Raw, codec: Compression) -> None:
        """Gather one frame; its place in the file is settled now."""
        frame = seal_frame(self._number, self._written + self._gathered, compress(codec, raw), len(raw))
        self._frames.append(frame)
        self._gathered += len(frame)

    def _write(self) -> None:
        """Write what is gathered."""
        try:
            with self._pause:
                write_sized(self._file, self._frames, self._gathered, self._written)
        except OSError as error:
            raise io_failed("write table", self._path, error) from error
        self._written += self._gathered
        self._frames, self._gathered = [], 0

    def finish(self) -> TableMeta:
        """Write what is left, the filter, the index and the footer; sync and close; what the manifest should remember.

        The directory is not synced: the caller does that before it names the table.

        I/O: one or a few writes, one fdatasync.

        Raises:
            InvalidArgumentError: nothing was added.
            IOFailedError: a write or the sync failed; call :meth:`abandon`.
        """
        if not self._entries:
            msg = f"table {self._path} would be empty: abandon it instead"
            raise InvalidArgumentError(msg)
        if self._pending is not None:
            self._encode(self._pending, [0, len(self._pending)])
            self._pending = None
        filter_bits = self._tail()
        self._write()
        try:
            with self._pause:
                self._file.sync()
                self._file.close()
        except OSError as error:
            raise io_failed("sync table", self._path, error) from error
        return TableMeta(
            number=self._number,
            bytes=self._written,
            entries=self._entries,
            tombstones=self._tombstones,
            smallest=self._smallest,
            largest=self._largest,
            min_seq=self._min_seq,
            max_seq=self._max_seq,
            raw_bytes=self._raw_bytes,
            filter_bits=filter_bits,
        )

    def _tail(self) -> int:
        """Gather filter, index, properties and footer; the number of filter bits."""
        starts: list[int] = []
        data, bits, probes = bloom.build(self._distinct_hashes(), self._bits_per_key)
        properties = PROPERTIES.pack(
            self._entries,
            self._tombstones,
            self._min_seq,
            self._max_seq,
            self._raw_bytes,
            self._key_width,
            self._block_bytes,
            len(self._fences),
            CODECS.index(self._codec),
            len(self._smallest),
            len(self._largest),
            0,
        )
        index = encode_index(self._offsets, self._fences)
        for part in (FILTER.pack(bits, probes, 0) + data, index, properties + self._smallest + self._largest):
            starts.append(self._written + self._gathered)
            self._frame(part, "none")
        end = self._written + self._gathered
        self._frames.append(pack_footer(Footer(self._number, starts[0], starts[1], starts[2], end + FOOTER_BYTES)))
        self._gathered += FOOTER_BYTES
        return bits

    def _distinct_hashes(self) -> U64:
        """One hash per distinct key: versions of a key are neighbours and count once."""
        if not self._hashes:
            return np.empty((0, 2), np.uint64)
        hashes = np.concatenate(self._hashes)
        new = np.ones(len(hashes), np.bool_)
        new[1:] = (hashes[1:] != hashes[:-1]).any(axis=1)
        return hashes if new.all() else hashes[new]

    def abandon(self) -> None:
        """Give up: close and remove the file. Never raises for a file system that fails again (it is an orphan then)."""
        self._frames, self._pending, self._hashes = [], None, []
        for end in (self._file.close, lambda: self._fs.unlink(self._path)):
            with suppress(OSError):
                end()
