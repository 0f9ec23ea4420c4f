"""Block compression: ``none`` or ``zstd`` level 3.

Compressors of the zstandard package may not be shared by threads and cost ~10 us to make, so idle ones wait in a pool.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

__all__ = ["CODECS", "Compression", "compress", "decompress"]

Compression: TypeAlias = Literal["none", "zstd"]

CODECS: tuple[Compression, ...] = ("none", "zstd")
"""Position = the number recorded in a table's properties."""

LEVEL = 3
"""zstd's own default: past it, blocks of a few KiB shrink little and cost much."""

_compressors: list[ZstdCompressor] = []
_decompressors: list[ZstdDecompressor] = []


def compress(codec: Compression, raw: bytes) -> bytes:
    """The stored form of ``raw``: smaller, or ``raw`` itself."""
    if codec == "none" or not raw:
        return raw
    try:
        worker = _compressors.pop()
    except IndexError:
        worker = ZstdCompressor(level=LEVEL, write_content_size=False)
    stored = worker.compress(raw)
    _compressors.append(worker)
    return stored if len(stored) < len(raw) else raw


def decompress(stored: memoryview, raw_bytes: int) -> bytes:
    """Undo :func:`compress`; ValueError unless exactly ``raw_bytes`` come out (more are never allocated)."""
    if len(stored) == raw_bytes:
        return stored.tobytes()
    try:
        worker = _decompressors.pop()
    except IndexError:
        worker = ZstdDecompressor()
    try:
        raw = worker.decompress(stored, max_output_size=raw_bytes)
    except (ZstdError, MemoryError) as error:
        msg = f"zstd: {error}"
        raise ValueError(msg) from error
    _decompressors.append(worker)
    if len(raw) != raw_bytes:
        msg = f"{len(raw)} bytes came out of zstd, {raw_bytes} were expected"
        raise ValueError(msg)
    return raw
