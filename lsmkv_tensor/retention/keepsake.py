"""What the eviction policy remembers from one opening to the next: the file ``PATH/RETENTION``.

Little endian: magic "LSMKVKPS" 8 | version u32 | bytes of the name u32 | the policy's name, UTF-8 | its own bytes | check u64

*check*: xxh3-64 of all before it. A clean close writes the file, the next opening reads and removes it. It says nothing that the
index does not know but ranks and ghosts: without it (after a crash, when it is damaged, when another policy was chosen) pages
are ranked by age. It takes space of the index's share, and is not written if there is none.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from posixpath import join

from xxhash import xxh3_64_intdigest

from lsmkv.env.fs import FileSystem, read_exact, write_all

__all__ = ["keep", "pack", "take", "unpack"]

NAME = "RETENTION"
VERSION = 1
_HEAD = struct.Struct("<8sII")
_CHECK = struct.Struct("<Q")
_MAGIC = b"LSMKVKPS"


def pack(policy: str, state: bytes) -> bytes:
    """The bytes of the file."""
    name = policy.encode()
    body = _HEAD.pack(_MAGIC, VERSION, len(name)) + name + state
    return body + _CHECK.pack(xxh3_64_intdigest(body))


def unpack(raw: bytes, policy: str) -> bytes | None:
    """What this policy remembers; None if the bytes are damaged, of another version or of another policy."""
    if len(raw) < _HEAD.size + _CHECK.size:
        return None
    magic, version, length = _HEAD.unpack_from(raw)
    body = raw[: -_CHECK.size]
    if (magic, version) != (_MAGIC, VERSION) or _CHECK.unpack(raw[-_CHECK.size :]) != (xxh3_64_intdigest(body),):
        return None
    start = _HEAD.size + length
    return body[start:] if body[_HEAD.size : start] == policy.encode() else None


def take(fs: FileSystem, directory: str, policy: str) -> bytes | None:
    """What was kept for this policy, if anything; the file is gone afterwards. I/O: one read, one unlink."""
    path = join(directory, NAME)
    raw = b""
    try:
        if not fs.exists(path):
            return None
        file = fs.open(path)
        raw = read_exact(file, file.size(), 0)
        file.close()
    except (OSError, EOFError):  # ranks are worth no error: age will do
        raw = b""
    with suppress(OSError):
        fs.unlink(path)
    return unpack(raw, policy)


def keep(fs: FileSystem, directory: str, policy: str, state: bytes) -> None:
    """Keep what this policy remembers; nothing is left behind if that fails. I/O: one file written and synced."""
    path = join(directory, NAME)
    try:
        file = fs.open(path, "create")
        try:
            write_all(file, [pack(policy, state)], 0)
            file.sync()
        finally:
            file.close()
    except OSError:
        with suppress(OSError):
            fs.unlink(path)
