"""An eviction policy of somebody else: least recently used, in a dict, and it remembers its order across openings."""

from __future__ import annotations

import numpy as np


class Remembering:
    """A policy is any class with these methods; ``save`` and ``load`` may be left out."""

    def __init__(self, capacity_bytes):
        self.pages = {}  # slot -> (size, print), the least recently used first
        self.ranks = {}
        self.ghost_hits = 0

    def on_insert(self, pages, sizes, prints):
        for page, size, print_ in zip(pages.tolist(), sizes.tolist(), prints.tolist(), strict=True):
            self.pages[page] = (size, print_)
        if self.ranks:
            order = sorted(self.pages.items(), key=lambda item: self.ranks.get(item[1][1], len(self.ranks)))
            self.pages, self.ranks = dict(order), {}

    def on_hit(self, pages):
        for page in pages.tolist():
            self.pages[page] = self.pages.pop(page)

    def on_remove(self, pages, evicted):
        for page in pages.tolist():
            del self.pages[page]

    def victims(self, nbytes):
        first = []
        for page, (size, _) in self.pages.items():
            if nbytes <= 0:
                break
            first.append(page)
            nbytes -= size
        return np.array(first, np.int64)

    def save(self):
        return np.array([print_ for _, print_ in self.pages.values()], np.uint64).tobytes()

    def load(self, saved):
        self.ranks = {print_: rank for rank, print_ in enumerate(np.frombuffer(saved, np.uint64).tolist())}


class Second:
    """An admission policy of somebody else: a page is stored when it was asked for or offered before."""

    told = []

    def __init__(self, capacity_bytes, write_bytes_per_day):
        self.known = set()
        self.budget = write_bytes_per_day

    def sight(self, prints, now_s):
        self.known.update(prints.tolist())

    def decide(self, prints, sizes, now_s):
        assert (sizes > 0).all()
        flags = np.array([print_ in self.known for print_ in prints.tolist()], bool)
        self.known.update(prints.tolist())
        return flags

    def observe(self, seen):
        Second.told.append(seen)
