"""Pages of one's own and of siblings that a call with a deadline takes from the page cache (:mod:`lsmkv_tensor.vlog.cached`)."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv_tensor.retention.touches import READ
from lsmkv_tensor.runtime.crew import Crew
from lsmkv_tensor.sharing.siblings import Siblings
from lsmkv_tensor.vlog.cached import Fetched, Fetcher, take

__all__ = ["SharedFetcher"]

KEY_BYTES = 28


class SharedFetcher:
    """Of one namespace: pages that are one's own, if there are such, then those of siblings. Any number of threads."""

    def __init__(
        self, own: Fetcher | None, siblings: Siblings, text: bytes, page_bytes: int, digest: bytes | None = None
    ) -> None:
        """``text``: the canonical text of the namespace; ``digest``: its SHA-256; None: siblings are told of no use."""
        self._own = own
        self._siblings = siblings
        self._text = text
        self._page_bytes = page_bytes
        self._digest = digest
        self._crew = Crew(0) if own is None else own.crew

    def fetch(self, keys: Sequence[bytes]) -> Fetched:
        """Have pages in the page cache, and tell siblings whose; on a thread that may be left.

        I/O: as :meth:`Fetcher.fetch`, then as :meth:`Siblings.fetch` for what is not here; two small writes.
        """
        own = Fetched([], list(range(len(keys)))) if self._own is None else self._own.fetch(keys)
        if not own.absent:
            return own
        wanted = [keys[i][-KEY_BYTES:] for i in own.absent]
        theirs = [
            held._replace(piece=[want._replace(position=own.absent[want.position]) for want in held.piece])
            for held in self._siblings.fetch(self._text, wanted, self._page_bytes)
        ]
        found = {want.position for held in theirs for want in held.piece}
        if self._digest is not None:
            self._siblings.touch(READ, self._digest, [keys[i][-KEY_BYTES:] for i in sorted(found)])
        return Fetched(own.pieces + theirs, [i for i in own.absent if i not in found])

    def take(self, fetched: Fetched, targets: Sequence[Sequence[memoryview]]) -> list[bool | None]:
        """See :func:`lsmkv_tensor.vlog.cached.take`."""
        verdicts = take(fetched, targets, self._crew)
        theirs = [want.position for held in fetched.pieces if held.took is not None for want in held.piece]
        self._siblings.took(sum(1 for i in theirs if verdicts[i]))
        return verdicts
