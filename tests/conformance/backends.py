"""A simple backend that does everything right, and eighteen that each do one thing wrong."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late

import numpy as np

from lsmkv_tensor.testing.conformance import Subject

PAGE = 8160
"""A file is two blocks of the disk with its checksum."""
FILE = PAGE + 32


class Good:
    """A file per page, its checksum behind it; the oldest go when the capacity is reached."""

    def __init__(self, directory, capacity):
        self.directory, self.capacity = directory, capacity
        self.lock = threading.RLock()
        self.sizes = {file.stem: FILE for file in sorted(directory.glob("*.page"), key=lambda f: f.stat().st_mtime)}
        self.readers = ThreadPoolExecutor(8)

    def file(self, key):
        return self.directory / f"{key.hex()}.page"

    def room(self, need):
        while self.sizes and sum(self.sizes.values()) + need > self.capacity:
            oldest = next(iter(self.sizes))
            del self.sizes[oldest]
            (self.directory / f"{oldest}.page").unlink(missing_ok=True)

    def put(self, keys, pages):
        with self.lock:
            for key, page in zip(keys, pages, strict=True):
                if key.hex() not in self.sizes:
                    data = page.tobytes()
                    self.write(key, data + hashlib.sha256(data).digest())
        return [True] * len(keys)

    def write(self, key, data):
        self.room(FILE)
        self.file(key).write_bytes(data)
        self.sizes[key.hex()] = FILE

    def exists(self, keys):
        with self.lock:
            return [key.hex() in self.sizes for key in keys]

    def get(self, keys, out, deadline_s):
        found = [self.readers.submit(self.read, key) for key in keys]
        return [self.deliver(key, one, row, deadline_s) for key, one, row in zip(keys, found, out, strict=True)]

    def deliver(self, key, found, row, deadline_s):
        try:
            data = found.result(deadline_s)
        except Late:
            return False
        if data is not None:
            row[:] = np.frombuffer(data, np.uint8)
        return data is not None

    def read(self, key):
        """The page's bytes, or None; a damaged page is forgotten."""
        data = self.load(key)
        if data is None:
            return None
        if self.damaged(data):
            self.forget(key)
            return None
        return data[:PAGE]

    def load(self, key):
        try:
            return self.file(key).read_bytes()
        except FileNotFoundError:
            return None

    def damaged(self, data):
        return len(data) != PAGE + 32 or hashlib.sha256(data[:PAGE]).digest() != data[PAGE:]

    def forget(self, key):
        with self.lock:
            self.sizes.pop(key.hex(), None)
            self.file(key).unlink(missing_ok=True)

    def settle(self):
        pass

    def delete(self, keys):
        for key in keys:
            self.forget(key)

    def close(self):
        self.readers.shutdown(wait=False)


class ForgetsAtRestart(Good):
    """Its index is in memory only; it begins with an empty directory."""

    intended = "restart"

    def __init__(self, directory, capacity):
        for file in directory.glob("*.page"):
            file.unlink()
        super().__init__(directory, capacity)


class PadsShortFiles(Good):
    """A file that is too short is filled up."""

    intended = "truncation"

    def load(self, key):
        data = super().load(key)
        return data + b"\0" * (PAGE + 32 - len(data)) if data is not None and len(data) < PAGE + 32 else data

    def damaged(self, data):
        return super().damaged(data) and not data.endswith(b"\0\0\0\0")

    def read(self, key):
        data = super().read(key)
        if super().damaged(Good.load(self, key) or b""):
            self.forget(key)  # it notices, and delivers all the same
        return data


class ChecksLengthsOnly(Good):
    """A changed bit is nobody's business."""

    intended = "bit flip"

    def damaged(self, data):
        return len(data) != PAGE + 32

    def read(self, key):
        data = super().read(key)
        if data is not None and super().damaged(self.load(key) or b""):
            self.forget(key)  # it notices, and delivers all the same
        return data


class RaisesForMissingFiles(Good):
    """The index says the file is there."""

    intended = "missing data"

    def load(self, key):
        with self.lock:
            return self.file(key).read_bytes() if key.hex() in self.sizes else None


class StopsAtTheFirstBadPage(Good):
    """What stands behind a damaged page is not read."""

    intended = "one bad page"

    def deliver(self, key, found, row, deadline_s):
        flag = super().deliver(key, found, row, deadline_s)
        self.bad = getattr(self, "bad", False) or (not flag and self.hurt)
        return flag and not self.bad

    def get(self, keys, out, deadline_s):
        self.bad = self.hurt = False
        return super().get(keys, out, deadline_s)

    def forget(self, key):
        self.hurt = True
        super().forget(key)


class KeepsDamagedPages(Good):
    """A damaged page is still there when it is put again."""

    intended = "healing"

    def read(self, key):
        data = self.load(key)
        return None if data is None or self.damaged(data) else data[:PAGE]


class NeverEvicts(Good):
    """A cache without an end, but for what a restart finds."""

    intended = "capacity"

    def __init__(self, directory, capacity):
        super().__init__(directory, capacity)
        self.earlier = bool(self.sizes)

    def room(self, need):
        if self.earlier:
            super().room(need)


class TakesNothingWhenFull(Good):
    """A full one stays as it is."""

    intended = "capacity"

    def put(self, keys, pages):
        new = {key for key, there in zip(keys, self.exists(keys), strict=True) if not there}
        full = sum(self.sizes.values()) + len(new) * FILE > self.capacity
        return [key not in new for key in keys] if full else super().put(keys, pages)


class CountsItsOwnFilesOnly(Good):
    """What an earlier process left is found, but takes no room."""

    intended = "capacity after a restart"

    def room(self, need):
        own = self.__dict__.setdefault("own", {})
        while own and sum(own.values()) + need > self.capacity:
            oldest = next(iter(own))
            own.pop(oldest)
            self.sizes.pop(oldest, None)
            (self.directory / f"{oldest}.page").unlink(missing_ok=True)

    def write(self, key, data):
        super().write(key, data)
        self.own[key.hex()] = self.sizes[key.hex()]

    def forget(self, key):
        super().forget(key)
        self.__dict__.setdefault("own", {}).pop(key.hex(), None)


class RefusesDuplicates(Good):
    """A page that is there already is no success."""

    intended = "duplicate put"

    def put(self, keys, pages):
        known = self.exists(keys)
        super().put(keys, pages)
        return [not there for there in known]


class WritesDuplicatesAgain(Good):
    """Every put is a file."""

    intended = "duplicate put"

    def put(self, keys, pages):
        with self.lock:
            for key, page, there in zip(keys, pages, self.exists(keys), strict=True):
                if there:
                    self.copies = getattr(self, "copies", 0) + 1
                    (self.directory / f"{key.hex()}.{self.copies}.copy").write_bytes(page.tobytes())
        return super().put(keys, pages)


class DeletesNoBytes(Good):
    """Deleted pages still count against the capacity."""

    intended = "delete accounting"

    def delete(self, keys):
        with self.lock:
            for key in keys:
                self.capacity -= self.sizes.get(key.hex(), 0)
        super().delete(keys)


class DeletesForAWhile(Good):
    """Deleted pages are back after a restart."""

    intended = "delete accounting"

    def delete(self, keys):
        with self.lock:
            for key in keys:
                self.sizes.pop(key.hex(), None)

    def load(self, key):
        return super().load(key) if key.hex() in self.sizes else None

    def room(self, need):
        super().room(need)
        files = sorted(self.directory.glob("*.page"), key=lambda file: file.stem in self.sizes)
        while len(files) * FILE + need > self.capacity:
            files.pop(0).unlink()


class SharesAScratchBuffer(Good):
    """Two callers at once get each other's pages."""

    intended = "concurrent callers"
    inside = 0
    met = None

    def get(self, keys, out, deadline_s):
        with self.lock:
            self.inside += 1
            self.met = self.met or threading.Event()
            if self.inside > 1:
                self.met.set()
        self.met.wait(0.05)
        met, self.inside = self.met.is_set(), self.inside - 1
        flags = super().get(keys, out, deadline_s)
        if met:
            out[:] = np.roll(out, 1, axis=0)
        return flags


class WaitsForTheDisk(Good):
    """A deadline is a wish."""

    intended = "deadline"

    def deliver(self, key, found, row, deadline_s):
        return super().deliver(key, found, row, None)


class WritesLater(Good):
    """A put keeps the caller's memory, and writes when somebody waits for it."""

    intended = "memory after return"

    def put(self, keys, pages):
        self.later = [*getattr(self, "later", []), (keys, pages)]
        return [True] * len(keys)

    def settle(self):
        later, self.later = getattr(self, "later", []), []
        for keys, pages in later:
            super().put(keys, pages)


class ReadsIntoTheCallersMemory(Good):
    """A late read comes after all, to where it was asked for."""

    intended = "memory after return"

    def get(self, keys, out, deadline_s):
        found = [self.readers.submit(self.read_into, key, row) for key, row in zip(keys, out, strict=True)]
        flags = []
        for one in found:
            try:
                flags.append(one.result(deadline_s))
            except Late:
                flags.append(False)
        return flags

    def read_into(self, key, row):
        data = self.read(key)
        if data is not None:
            row[:] = np.frombuffer(data, np.uint8)
        return data is not None


class AllOrNothing(Good):
    """One page that was never stored, and none of the others comes."""

    intended = "round trip"

    def get(self, keys, out, deadline_s):
        return super().get(keys, out, deadline_s) if all(self.exists(keys)) else [False] * len(keys)


BAD = [kind for kind in Good.__subclasses__() if hasattr(kind, "intended")]


class Of(Subject):
    """A kind of backend as a subject, small and quick."""

    page_bytes = PAGE
    capacity_bytes = 64 * PAGE
    deadline_s = 0.05
    grace_s = 0.3
    quiet_s = 0.1

    def __init__(self, kind=Good):
        self.name = kind.__name__
        self.version = "test"
        self.kind = kind

    def open(self, directory, capacity_bytes):
        return self.kind(directory, capacity_bytes)
