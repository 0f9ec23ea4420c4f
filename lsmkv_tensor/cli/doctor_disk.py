"""What ``lsmkv doctor`` asks of a disk: may it be written, is there room, does O_DIRECT work, how fast is a page store there."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from posixpath import join

import numpy as np

from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import FileSystem, write_all
from lsmkv.errors import InvalidArgumentError, LsmError
from lsmkv.observe.picture import human_bytes
from lsmkv_tensor.cli.doctor_checks import Check
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.retention.quota import divide
from lsmkv_tensor.runtime.tryout import try_disk
from lsmkv_tensor.vlog.bounce import AlignedBuffer

__all__ = [
    "Speed",
    "check_break_even",
    "check_capacity",
    "check_disk",
    "in_the_way",
    "measure",
    "nearest_directory",
    "no_break_even",
    "store_bytes",
]

PAGE_BYTES = 1 << 20
BATCH = 32
MEMORY = ("tmpfs", "ramfs")
MARGIN_BYTES = 64 << 20
"""What a trial store needs beside its pages."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a page store did on this disk: pages of 1 MiB in batches of 32."""

    write_bytes_per_s: float
    """Until all was durable."""
    read_bytes_per_s: float
    """From the device; from memory if ``cached``: without O_DIRECT, or on a file system in memory."""
    cached: bool


def nearest_directory(path: str) -> str:
    """``path``, or the directory nearest above it that is there."""
    found = Path(path).absolute()
    while not found.is_dir() and found != found.parent:
        found = found.parent
    return str(found)


def in_the_way(path: str) -> str | None:
    """What is at ``path`` or above it and is no directory: nothing can be made there. None if nothing is."""
    whole = Path(path).absolute()
    for at in (whole, *whole.parents):
        if at.is_dir():
            return None
        if at.exists() or at.is_symlink():
            return str(at)
    return None


def store_bytes(path: str) -> int:
    """What the segments of stores take on the disk: of one in ``path``, and of members under it. I/O: lists directories."""
    total = 0
    for pattern in ("vlog/*.seg", "*/vlog/*.seg"):
        for file in Path(path).glob(pattern):
            with suppress(OSError):
                total += file.stat().st_blocks * 512
    return total


def check_disk(fs: FileSystem, path: str, capacity_bytes: int | None, taken_bytes: int = 0) -> tuple[list[Check], bool]:
    """What was found in a directory that is there, and whether it can be measured. I/O: small files in a directory of its own.

    ``taken_bytes``: what stores there take already, of the capacity that is wanted.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".lsmkv-doctor-", dir=path) as trial:
            trouble = try_disk(fs, trial)
            direct = _direct_works(fs, trial) if trouble is None else None
    except OSError as error:
        trouble, direct = error, None
    if trouble is not None:
        full = getattr(trouble, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room there, or another path" if full else "another path, or its permissions"
        return [Check("path", "bad", f"{path} cannot be written: {trouble}", advice)], False
    checks = [Check("path", "ok", f"{path} can be written, synced and read"), _room(fs, path, capacity_bytes, taken_bytes)]
    if is_memory(path):
        told = "none: this file system is memory, and takes it from others; what is kept there ends with the machine"
        checks.append(Check("disk", "note", told, "a path on a disk"))
    if direct:
        checks.append(Check("O_DIRECT", "ok", "works: pages are written without the page cache"))
    else:
        told = "refused by this file system: pages go through the page cache"
        checks.append(Check("O_DIRECT", "note", told, "ext4 or XFS on a local disk, if there is one"))
    return checks, True


def check_capacity(capacity_bytes: int) -> list[Check]:
    """Whether a store can be made with this capacity: nothing if it can."""
    try:
        divide(capacity_bytes, None, None)
    except InvalidArgumentError as error:
        return [Check("capacity", "bad", str(error), "a larger --capacity, on a disk that has room for it")]
    return []


def is_memory(path: str) -> bool:
    """Whether the file system of a directory is memory. I/O: reads what Linux says of mounts; without Linux: no."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        whole = Path(path).resolve()
    except OSError:
        return False
    kinds: dict[Path, str] = {}  # of mounts on one place the last one counts
    for line in mounts:
        place, kind = line.split(" ")[4].replace("\\040", " "), line.partition(" - ")[2].partition(" ")[0]
        kinds[Path(place)] = kind
    return next((kinds[at] for at in (whole, *whole.parents) if at in kinds), "") in MEMORY


def measure(path: str, total_bytes: int, advance: Callable[[int], None], *, clock: Clock | None = None) -> Speed:
    """Write and read so many bytes of random pages in a store of its own below ``path``, which is removed again.

    I/O: ``total_bytes`` written, synced, and read.
    """
    clock = clock if clock is not None else SystemClock()
    pages = np.random.default_rng(1).integers(0, 256, (BATCH, PAGE_BYTES), np.uint8)
    batches = max(1, total_bytes // (BATCH * PAGE_BYTES))
    keys = [[b"%027d%d" % (batch * BATCH + i, 0) for i in range(BATCH)] for batch in range(batches)]
    options = StoreOptions(capacity_bytes=2 * batches * BATCH * PAGE_BYTES + MARGIN_BYTES, direct_io="always")
    with tempfile.TemporaryDirectory(prefix=".lsmkv-doctor-", dir=path) as trial, PageStore.open(trial, options=options) as store:
        view = store.namespace({"doctor": 1}, PAGE_BYTES)
        began = clock.monotonic()
        for some in keys:
            pages[:, :8] ^= 1  # pages of another batch
            view.put_many(some, pages)
            advance(pages.nbytes)
        store.sync()
        written = clock.monotonic() - began
        began = clock.monotonic()
        for some in keys:
            view.get_into(some, pages)
            advance(pages.nbytes)
        read = clock.monotonic() - began
        cached = not store.stats().direct_io or is_memory(path)
    moved = batches * BATCH * PAGE_BYTES
    return Speed(moved / max(written, 1e-9), moved / max(read, 1e-9), cached)


def check_break_even(speed: Speed, token_bytes: int | None, prefill_tokens_per_s: float | None) -> list[Check]:
    """What the speed is worth: loading a token against computing it."""
    where = "from memory: no disk was measured" if speed.cached else "from the device"
    told = f"writes {human_bytes(speed.write_bytes_per_s)}/s, reads {human_bytes(speed.read_bytes_per_s)}/s {where}"
    checks = [Check("bandwidth", "note" if speed.cached else "ok", told)]
    if token_bytes is None or prefill_tokens_per_s is None:
        advice = "give --model (or --token-bytes) and --prefill-tokens-per-s"
        return [*checks, Check("break-even", "note", "not known: it depends on the model and on how fast it computes", advice)]
    wanted = token_bytes * prefill_tokens_per_s
    factor = speed.read_bytes_per_s / wanted
    told = f"{human_bytes(wanted)}/s: loading is {factor:.2g} times as fast as computing"
    if factor >= 1:
        return [*checks, Check("break-even", "ok", told)]
    advice = "a faster disk, several disks (docs/disks.md), smaller pages (codec shuffle_zstd), or no disk tier for this model"
    return [*checks, Check("break-even", "bad", told, advice)]


def no_break_even() -> Check:
    """What is said where the model was told and the disk was not measured."""
    return Check("break-even", "note", "not known: the disk was not measured", "leave out --no-measure, or make room")


def _room(fs: FileSystem, path: str, capacity_bytes: int | None, taken_bytes: int) -> Check:
    """Free space, and what a store there has already, against the capacity that is wanted."""
    free = fs.free_bytes(path)
    found = human_bytes(free) + (f" and {human_bytes(taken_bytes)} of stores that are there" if taken_bytes else "")
    if capacity_bytes is None:
        return Check("free space", "ok" if free + taken_bytes > 1 << 30 else "note", found)
    if free + taken_bytes >= capacity_bytes:
        return Check("free space", "ok", f"{found}, for a capacity of {human_bytes(capacity_bytes)}")
    told = f"{found}, less than the capacity of {human_bytes(capacity_bytes)}"
    return Check("free space", "bad", told, f"capacity_bytes = {int((free + taken_bytes) * 0.9)}")


def _direct_works(fs: FileSystem, directory: str) -> bool:
    """Whether a block goes to the disk and comes back with O_DIRECT."""
    name = join(directory, "direct")
    block = AlignedBuffer(4096).view[:4096]
    block[:] = b"lsmkv doctor    " * 256
    try:
        file = fs.open(name, "create", direct=True)
        try:
            write_all(file, [block], 0)
            back = AlignedBuffer(4096).view[:4096]
            return file.preadv([back], 0) == len(back) and back == block
        finally:
            file.close()
    except (OSError, EOFError, LsmError):
        return False
    finally:
        with suppress(OSError):
            fs.unlink(name)
