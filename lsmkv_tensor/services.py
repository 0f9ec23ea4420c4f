"""What runs beside the calls of one store: attempts with deadlines, memory that is lent, what was learnt about the disk.

One :class:`Services` per open store, handed to its namespaces. It is made before the store's parts.
"""

from __future__ import annotations

import math

from lsmkv.env.clock import Clock, SystemClock
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.runtime.attempts import AttemptPool
from lsmkv_tensor.runtime.estimate import LoadEstimate
from lsmkv_tensor.vlog.staging import StagingPool

__all__ = ["CLOSE_WAIT_S", "Services"]

CLOSE_WAIT_S = 1.0
"""Real seconds that ``close`` gives reads whose callers have left; one that hangs longer is left behind."""


class Services:
    """The services of one store. Any thread may call anything."""

    def __init__(self, options: StoreOptions | None = None) -> None:
        self.options = options if options is not None else StoreOptions()
        self.clock: Clock = self.options.clock if self.options.clock is not None else SystemClock()
        self.attempts = AttemptPool(self.options.clock)
        self.staging = StagingPool()
        self.loads = LoadEstimate()
        self.late_pages = 0
        """Pages asked for and not delivered by the deadline."""

    def until(self, deadline_s: float | None) -> float | None:
        """The moment by which a call must be back: ``deadline_s`` from now, else the store's ``io_timeout_s``; None: never.

        InvalidArgumentError for what is no number of seconds.
        """
        if deadline_s is None:
            deadline_s = self.options.io_timeout_s
            return None if deadline_s is None else self.attempts.until(deadline_s)
        if isinstance(deadline_s, bool) or not isinstance(deadline_s, int | float) or not 0 <= deadline_s < math.inf:
            msg = f"deadline_s = {deadline_s!r}: must be a number of seconds of at least 0, or None for the store's io_timeout_s"
            raise InvalidArgumentError(msg)
        return self.attempts.until(deadline_s)

    def close(self) -> None:
        """End every thread that can be ended; the store's calls have left."""
        self.attempts.stop(CLOSE_WAIT_S)

    def forked(self) -> None:
        """In a forked child: nothing runs here."""
        self.attempts.forked()
        self.staging.forked()
