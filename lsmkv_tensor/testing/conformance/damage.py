"""Damage to real files, without knowing whose: a page is found by its bytes, which are random and so occur nowhere else."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "cut", "disk_bytes", "find", "flip", "remove", "spoil", "stalled_by_pipes"]

NEEDLE_BYTES = 48
"""Of a page's middle: what is looked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page's bytes in a file."""

    file: Path
    middle: int
    """Offset of the page's middle in the file."""


def find(directory: Path, page: NDArray[np.uint8]) -> list[Found]:
    """Every place below ``directory`` where this page's middle stands as it is. I/O: reads all files."""
    at = len(page) // 2
    needle = page[at : at + NEEDLE_BYTES].tobytes()
    found = []
    for file in sorted(directory.rglob("*")):
        if file.is_symlink() or not file.is_file() or not file.stat().st_size:
            continue
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = data.find(needle)
            while place >= 0:
                found.append(Found(file, place))
                place = data.find(needle, place + 1)
    return found


def flip(places: list[Found]) -> None:
    """Change one bit in the middle of the page, in each place."""
    for place in places:
        with place.file.open("r+b") as file:
            file.seek(place.middle)
            byte = file.read(1)[0]
            file.seek(place.middle)
            file.write(bytes([byte ^ 1]))


def cut(places: list[Found]) -> None:
    """Let each file end in the middle of the page."""
    for place in places:
        os.truncate(place.file, place.middle)


def spoil(places: list[Found], page_bytes: int) -> None:
    """Damage that any backend should notice: a file of one page is cut, in a file of several a bit is changed."""
    for place in places:
        alone = place.file.stat().st_size <= alone_bytes(page_bytes)
        (cut if alone else flip)([place])


def alone_bytes(page_bytes: int) -> int:
    """A file up to this size holds one page."""
    return 2 * page_bytes + (64 << 10)


def remove(places: list[Found]) -> None:
    """Remove each file."""
    for file in {place.file for place in places}:
        file.unlink()


def disk_bytes(directory: Path) -> int:
    """What the files below ``directory`` take on the disk. Files that go meanwhile are left out."""
    total = 0
    for file in directory.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_blocks * 512 if file.is_file() else 0
    return total


@contextmanager
def stalled_by_pipes(directory: Path, page: NDArray[np.uint8]) -> Iterator[None]:
    """Reads of the file of this page hang until the context is left; then they get its bytes.

    NotApplicableError if the page is in no file, or in one that holds more than it.
    """
    from lsmkv_tensor.testing.conformance.protocol import NotApplicableError  # noqa: PLC0415 - protocol.py needs this module

    files = {place.file for place in find(directory, page)}
    if not files:
        msg = "its bytes are in no file as they are: say how this disk hangs (Subject.stalled)"
        raise NotApplicableError(msg)
    if any(file.stat().st_size > alone_bytes(len(page)) for file in files):
        msg = "several pages share a file: say how this disk hangs (Subject.stalled)"
        raise NotApplicableError(msg)
    aside = {file: file.with_name(file.name + ".aside") for file in files}
    for file, other in aside.items():
        file.rename(other)
        os.mkfifo(file)
    try:
        yield
    finally:
        for file, other in aside.items():
            _let_go(file, other)


def _let_go(pipe: Path, aside: Path) -> None:
    """Put the file back, and give its bytes to those who wait for the pipe; nobody else waits."""
    data = aside.read_bytes()
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # both ends: opening waits for nobody, nor does who opens it meanwhile
    try:
        aside.rename(pipe)  # first: whoever looks a second time must find the file, not a pipe that has no other end
        with suppress(OSError):  # more than pipes may hold: readers get the first part
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 1 << 20)
        with suppress(BlockingIOError):
            os.write(end, data)
    finally:
        os.close(end)
