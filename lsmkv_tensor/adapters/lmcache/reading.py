"""What a process has that stores nothing: LMCache's scheduler asks what its workers hold. In shape like ``Holding``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lsmkv_tensor.adapters.holding import State, View
from lsmkv_tensor.adapters.jobs import Jobs
from lsmkv_tensor.adapters.lmcache.settings import LmcacheSettings
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.followed import PageFollower

__all__ = ["Reading"]


class Reading:
    """The pages of all processes under a root. Any thread may call anything."""

    def __init__(self, settings: LmcacheSettings) -> None:
        """Nobody need be there yet. I/O: as ``PageFollower.open``."""
        self.root = settings.path
        self.member = ""
        self.state: State = "following"
        self.reason: str | None = "this process stores nothing"
        self.store: PageFollower | None = None
        try:
            self.store = PageFollower.open(settings.path, options=settings.options)
        except (LsmError, OSError) as error:
            self.state, self.reason = "off", f"{settings.path} cannot be followed: {error}"

    def view(self, fields: Mapping[str, object], page_bytes: int, *, codec: str = "raw") -> Callable[[], View]:
        """A namespace to read. I/O: none."""
        del codec
        reader = None if self.store is None else self.store.namespace(fields, page_bytes)
        return lambda: View(reader, None)

    def claim(self) -> bool:
        """It never writes."""
        return False

    def end(self, jobs: Jobs[Any], within_s: float | None) -> int:
        """:meth:`close` after the jobs that use it; how many of their pages were dropped."""
        stopped = jobs.stop(within_s)
        if stopped.ended:  # else closing would wait for the disk that a job waits for
            self.close()
        return stopped.dropped_pages

    def close(self) -> None:
        """Let go of everything. A second call does nothing."""
        store, self.store, self.state = self.store, None, "closed"
        if store is not None:
            store.close()
