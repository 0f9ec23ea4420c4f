"""Asks the admission policy which offered pages to store, and tells it what it may know. Any thread may call anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lsmkv.env.clock import Clock
from lsmkv.env.sync import Lock
from lsmkv_tensor.retention.admission import AdmitAll
from lsmkv_tensor.retention.protocol import Admission, Prints, Seen, Sizes
from lsmkv_tensor.retention.residents import key_rows, prefixed_rows, prints_of
from lsmkv_tensor.vlog.layout import padded

__all__ = ["Gatekeeper"]

MAX_SIGHTED = 4096
"""Absent pages of one ask that are noted, at most: those that come first are the ones that a put offers first."""


class Gatekeeper:
    """Judges the pages that are offered to one store."""

    def __init__(self, admission: Admission, clock: Clock, seen: Callable[[float], Seen]) -> None:
        self._admission = admission
        self._clock = clock
        self._seen = seen
        self._lock = Lock()
        self.open = isinstance(admission, AdmitAll) and not admission.limited
        """Everything is admitted; nothing needs to be asked or told."""
        self.watch: Callable[[Prints, Sizes], None] | None = None
        """Told of pages that were refused, leaf to root."""

    def sighted(self, prefix: bytes, keys: Sequence[bytes]) -> None:
        """A call asked for these pages (an index key is ``prefix`` and a key), and they were not there."""
        if keys and not self.open:
            prints = prints_of(prefixed_rows(prefix, list(dict.fromkeys(keys[:MAX_SIGHTED]))))
            with self._lock:
                self._admission.sight(prints, self._clock.monotonic())

    def admitted(self, keys: Sequence[bytes], lengths: Sequence[int]) -> list[bool]:
        """Which of these absent pages (distinct index keys, root to leaf) to store."""
        if self.open or not keys:
            return [True] * len(keys)
        now = self._clock.monotonic()
        with self._lock:
            self._admission.observe(self._seen(now))
            prints, sizes = prints_of(key_rows(keys)), np.array(list(map(padded, lengths)), np.int64)
            wanted = self._admission.decide(prints, sizes, now)
        if self.watch is not None:
            self.watch(prints[~wanted][::-1], sizes[~wanted][::-1])
        flags: list[bool] = wanted.tolist()
        return flags
