"""TensorStore: token ids in, pages of the KV cache out.

It gives pages their keys (:mod:`lsmkv_tensor.keys`), checks and moves tensors (:mod:`lsmkv_tensor.tensors`), and leaves bytes,
budget and durability to the page store. A page is useful only if all pages before it are there, so every answer is about a
*prefix*: how much of this prompt is stored, and which of its pages could be delivered without a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lsmkv.arguments import PathArgument
from lsmkv.env.process import watch_forks
from lsmkv.env.sync import Lock
from lsmkv_tensor.codec import tensor_codec
from lsmkv_tensor.errors import BusyError, InvalidArgumentError, IOFailedError, ReadOnlyError
from lsmkv_tensor.followed import FollowedNamespace, PageFollower
from lsmkv_tensor.format import PageFormat
from lsmkv_tensor.identity import tensor_identity
from lsmkv_tensor.keys.anchored import ANCHOR_BYTES
from lsmkv_tensor.keys.chain import KeyChain
from lsmkv_tensor.keys.tokens import Tokens, token_ids
from lsmkv_tensor.keys.trails import put_records, subtree, tidy
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.opening import checked_paths
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.packs.tensors import TensorPacks
from lsmkv_tensor.pages import PageStore, PageStoreStats
from lsmkv_tensor.plans import Plan, plan_load
from lsmkv_tensor.runtime import Health
from lsmkv_tensor.runtime.putpieces import Piece, Verdict
from lsmkv_tensor.sharing import Sharing
from lsmkv_tensor.spans import PageBuffers, page_views
from lsmkv_tensor.tensors import PageSource, PageTarget
from lsmkv_tensor.vlog.gc import GcReport

if TYPE_CHECKING:
    import torch

__all__ = ["TensorStore"]

TIDY_GROUPS = 16
"""Groups whose trails one put tidies after evictions: about as many as it fills, some 0.1 ms each at worst."""


class TensorStore(TensorPacks):
    """The KV cache pages of one model; use it as a context manager. Made by :meth:`open`. Any thread may call anything.

    ``tokens`` is everywhere the prompt from its first token: a list or tuple of int, or a one-dimensional integer array or
    tensor. Only whole pages count; tokens after the last whole page are ignored. InvalidArgumentError for ids outside uint32.
    """

    def __init__(self, pages: PageStore | PageFollower, namespace: Namespace | FollowedNamespace, fmt: PageFormat) -> None:
        self.format = fmt
        self._pages = pages
        self._namespace = namespace
        self._chain = KeyChain(namespace.digest, fmt.page_tokens)
        self._changes = Lock()  # trails are read, then written with the pages they lead to
        self._evicted: set[bytes] = set()  # anchors of groups that lost pages
        self._above: dict[bytes, bytes] = {}  # a group -> the one above it whose trail is kept for nothing else
        namespace.on_evict(self._note_evicted)
        watch_forks(self)

    @classmethod
    def open(
        cls,
        path: PathArgument | Sequence[PathArgument],
        fmt: PageFormat,
        *,
        namespace: str,
        codec: str = "raw",
        salt: str | bytes | None = None,
        options: StoreOptions | None = None,
        member: str | None = None,
        sharing: Sharing | None = None,
        read_only: bool = False,
    ) -> TensorStore:
        """Open the store in directory ``path``, creating it if there is none.

        ``namespace``: whose pages these are. It must name everything that changes the bits of a page for equal tokens: the
        model and its revision, adapters, quantisation, parallel rank. A store may hold several.

        ``codec``: how pages are stored (docs/codecs.md). "raw" and "shuffle_zstd" give back every bit and may differ from one
        opening to the next. "int8" and "fp8" store floats in eight bits each: what is read differs from what was put, within
        the bounds of :mod:`lsmkv_tensor.codec.quantised`. They belong to the format of a namespace: its name is refused
        without them, so that nobody gets such pages who did not ask for them.

        ``salt``: a tenant's secret. Openers with another one, or with none, can neither read nor probe these pages, nor put
        pages among them, though they use the same name.

        ``member``: this process's store is ``path/member``, and it also reads what the other members hold, as ``sharing`` says
        (:mod:`lsmkv_tensor.sharing`). ``read_only``: read what others hold under ``path``, without a store of one's own; what
        writes then raises ReadOnlyError.

        Raises NamespaceMismatchError (the namespace holds pages of another format; it names the differences), LockedError,
        CorruptionError, FormatTooNewError, InvalidArgumentError (also for a codec that does not take the format), IOFailedError.

        I/O: opens the index and reads one record per segment; no page is read.
        """
        if not isinstance(fmt, PageFormat):
            msg = f"fmt must be a PageFormat, not {type(fmt).__name__}"
            raise InvalidArgumentError(msg)
        coded = tensor_codec(codec, fmt)
        fields, name = tensor_identity(namespace, fmt, coded, salt)
        if read_only:
            if member is not None:
                msg = f"member = {member!r} with read_only=True: who writes nothing has no directory"
                raise InvalidArgumentError(msg)
            fs = None if options is None else options.fs
            follower = PageFollower.open(checked_paths(path, fs)[0], options=options, sharing=sharing)
            return cls(follower, follower.namespace(fields, fmt.page_bytes, name=name), fmt)
        pages = PageStore.open(path, options=options, member=member, sharing=sharing)
        try:
            return cls(pages, pages.namespace(fields, fmt.page_bytes, name=name, codec=coded), fmt)
        except BaseException:
            pages.close()
            raise

    # asking

    def probe(self, tokens: Tokens, *, prefetch: bool = False) -> int:
        """Tokens covered by the longest stored prefix, a multiple of ``page_tokens``; exact whatever eviction left behind.

        ``prefetch``: have the kernel begin to read those pages, for a ``get_batch`` that follows soon; this does not wait for it.

        I/O: index blocks, most often cached; with ``prefetch`` one hint a stretch of pages.
        """
        return self._namespace.contains_prefix(self._keys(tokens), prefetch=prefetch) * self.format.page_tokens

    def plan(self, tokens: Tokens, *, prefill_tokens_per_s: float | None = None) -> Plan:
        """Whether to load the stored prefix of this prompt or to compute it again.

        Loading is estimated from the loads this store has made (:mod:`lsmkv_tensor.runtime.estimate`), computing from
        ``prefill_tokens_per_s`` (None: the option of that name). Raises InvalidArgumentError, ClosedError. I/O: as :meth:`probe`.
        """
        speed = prefill_tokens_per_s
        if speed is None:
            speed = self._namespace.services.options.prefill_tokens_per_s
        pages = self._namespace.contains_prefix(self._keys(tokens))
        return plan_load(pages, self.format, self._namespace.services.loads, speed)

    # pages in and out

    def put_batch(
        self,
        tokens: Tokens,
        pages: Sequence[torch.Tensor] | torch.Tensor | Any,  # noqa: ANN401  # PageSpans and tensors
        first_page: int = 0,
        wait: bool | None = None,
    ) -> int:
        """Store pages of a prompt, from ``first_page`` on; how many are newly stored.

        ``pages``: a sequence of tensors of the format's shape, one tensor [n, *shape] (any device, any strides), or PageSpans.
        There may be fewer pages than the tokens cover. Pages already stored are not written again, and pages for which no
        space could be made are left out: neither counts. When this returns, the caller's memory is no longer looked at.

        ``wait``: True writes before returning. False copies the pages for a worker that writes them, never waits for that, and
        returns how many were accepted; the rest found no room and is declined. None: as ``StoreOptions.put_queue_bytes`` says.
        Accepted pages are there for probe and get at once; they are durable after :meth:`sync`, and written by :meth:`close`.

        Raises InvalidArgumentError (wrong shape, dtype or count, naming the page; nothing is stored), ClosedError, and without
        a breaker PoisonedError.

        I/O: one lookup in the index, one gathered write and one index commit per frame. Durable after :meth:`sync`.
        """
        self._check_writable("put_batch")
        keys, first = self._keys(tokens), _page_number(first_page)
        source = PageSource(self.format, pages)
        stop = first + len(source)
        if stop > len(keys):
            msg = (
                f"pages {first}..{stop - 1} given, but the tokens cover only {len(keys)} whole pages of {self.format.page_tokens}"
            )
            raise InvalidArgumentError(msg)
        services = self._namespace.services
        if services.queue_for(wait) is None:
            return self._store(keys, range(first, stop), lambda which: source.take([i - first for i in which]))
        wanted = self._namespace.to_store(keys[first:stop], touch=True).tolist()
        missing = [i for i in range(first, stop) if wanted[i - first]]
        if not missing:
            return 0
        size = self.format.page_bytes
        views = page_views(source.take([i - first for i in missing]), len(missing), size)

        def write(pieces: Sequence[Piece]) -> list[Verdict]:
            """Store pages that waited; what became of them nobody asks."""
            which = [missing[i] for piece in pieces for i in piece.at]
            pages = dict(zip(which, (page for piece in pieces for page in piece.pages), strict=True))
            self._store(keys, which, lambda some: [pages[i] for i in some])
            return []

        return services.offer(self._namespace.index_keys([keys[i] for i in missing]), size, views, write)

    def _store(self, keys: Sequence[bytes], pages: Sequence[int], take: Callable[[list[int]], PageBuffers]) -> int:
        """Write those of these pages (ascending positions) that are not in the index; how many were stored."""
        if not pages:
            return 0
        with self._changes:
            with suppress(IOFailedError, BusyError):  # upkeep can wait; the put says itself what it could not do
                self._tidy_evicted(min(len(pages), TIDY_GROUPS))
            wanted = self._namespace.to_store(keys[pages[0] : pages[-1] + 1], queued=False, touch=True).tolist()
            missing = [i for i in pages if wanted[i - pages[0]]]
            if not missing:
                return 0
            before = missing[0] - 1  # trails lead to the pages of this store only
            follows = before < 0 or bool(self._namespace.contains_own([keys[before]])[0])
            stored = self._namespace.put_many(
                [keys[i] for i in missing],
                take(missing),
                [keys[i - 1] if i else None for i in missing],
                records=dict(put_records(keys, missing, follows=follows)),
                wait=True,
            )
        return sum(stored)

    def get_batch(
        self,
        tokens: Tokens,
        first_page: int = 0,
        out: Sequence[torch.Tensor] | torch.Tensor | None = None,
        deadline_s: float | None = None,
    ) -> list[torch.Tensor]:
        """The pages of a prompt from ``first_page`` on, up to the first that cannot be delivered.

        ``out``: None for new CPU tensors (writable; they share one allocation), or where to put them: one tensor [m, *shape]
        or a sequence of tensors, filled in order as far as they reach. Returns one tensor per delivered page (with ``out``,
        views of it); the contents of the rest of ``out`` are undefined.

        ``deadline_s``: seconds after which this is back, with the prefix that came in time, whatever the disk does; None: the
        store's ``io_timeout_s``. A page that comes late never touches ``out``.

        Raises InvalidArgumentError (wrong shape or dtype of ``out``; nothing is read), ClosedError.

        I/O: one lookup in the index, one read per stretch of pages that lie together; with a deadline once per 8 MiB of pages.
        """
        until = self._namespace.services.until(deadline_s)
        keys = self._keys(tokens)[_page_number(first_page) :]
        target = PageTarget(self.format, out, self._namespace.contains_prefix(keys, self._left(until)))
        return target.result(self._read(keys[: len(target)], target.buffers, until))

    def get_into(self, tokens: Tokens, buffers: PageBuffers, first_page: int = 0, deadline_s: float | None = None) -> int:
        """Read pages into memory that is not tensors of the format's shape (PageSpans, buffers); how many were delivered.

        ``buffers`` holds exactly the pages from ``first_page`` to the last whole page of ``tokens``. As :meth:`get_batch`
        otherwise, ``deadline_s`` included: what lies beyond the delivered pages is undefined.

        Raises InvalidArgumentError (counts or sizes that do not fit; nothing is read), ClosedError. I/O: as get_batch.
        """
        until = self._namespace.services.until(deadline_s)
        return self._read(self._keys(tokens)[_page_number(first_page) :], buffers, until)

    def drop(self, tokens: Tokens) -> int:
        """Forget the last page of this prefix and every page stored below it; how many there were.

        Everything that continues these tokens goes, beyond holes too; the pages before stay. What siblings hold stays there,
        and is still delivered. Interrupted, it may have forgotten only the far end: repeat it. Tokens that do not fill a page
        drop nothing.

        Raises NoSpaceError, BusyError, PoisonedError, ClosedError.

        I/O: a scan of the trails below, and one index commit per 1024 pages.
        """
        self._check_writable("drop")
        keys = self._keys(tokens)
        dropped = 0
        self._namespace.services.settle()  # pages in the queue have no trails yet
        with self._changes:
            for step in subtree(self._namespace.records, keys[-1]) if keys else ():
                kept = {last: path for last, path in step.changes if path is not None}
                if kept:
                    self._namespace.write_records(kept)
                gone = [last for last, path in step.changes if path is None]
                dropped += self._namespace.delete_many(step.pages, records=gone)
        return dropped

    # upkeep

    def stats(self) -> PageStoreStats:
        """What the store holds and has done since opening, all namespaces together."""
        return self._pages.stats()

    def health(self) -> Health:
        """How the store is and since when; never waits, never raises. I/O: none."""
        return self._pages.health()

    def sync(self) -> None:
        """Make everything stored so far durable. IOFailedError, PoisonedError. I/O: two fdatasync."""
        self._pages.sync()

    def gc(self) -> GcReport:
        """Reclaim the space of pages that were dropped, and of trails that lead nowhere any more; what was done.

        I/O: a scan of this namespace's trails; reads and writes the live pages of mostly dead segments.
        """
        self._check_writable("gc")
        self._tidy_all()
        return self._pages.gc()

    def step(self) -> bool:
        """Do one unit of each background worker's work, here; whether there may be more. For a manual scheduler. I/O: theirs."""
        return self._pages.step()

    def close(self) -> None:
        """Wait for calls inside, make everything durable, release the directory. A second call does nothing."""
        self._pages.close()

    def forked(self) -> None:
        """In a forked child: closed (by the page store); the lock may be held by a thread that does not exist here."""
        self._changes = Lock()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    # helpers

    def _check_writable(self, what: str) -> None:
        """ReadOnlyError if there is no store of one's own."""
        if isinstance(self._pages, PageFollower):
            raise ReadOnlyError(self._pages.path, what)

    def _keys(self, tokens: Tokens) -> Sequence[bytes]:
        """The page keys of a prompt."""
        return self._chain.keys(token_ids(tokens))

    def _left(self, until: float | None) -> float | None:
        """Seconds until that moment."""
        return None if until is None else self._namespace.services.attempts.remaining(until)

    def _read(self, keys: Sequence[bytes], buffers: PageBuffers, until: float | None) -> int:
        """Read pages; how many came before the first miss."""
        flags = self._namespace.get_into(keys, buffers, self._left(until))
        return flags.index(False) if False in flags else len(flags)

    def _note_evicted(self, keys: list[bytes], sizes: list[int]) -> None:
        """Remember which groups lost pages; called in the middle of a put, so nothing else happens here."""
        assert len(keys) == len(sizes)
        self._evicted.update(key[:ANCHOR_BYTES] for key in keys)

    def _tidy_evicted(self, groups: int) -> None:
        """Tidy some of the groups that lost pages, with the lock held."""
        for _ in range(min(groups, len(self._evicted))):
            self._tidy(self._evicted.pop())

    def _tidy_all(self) -> None:
        """Tidy every group; the lock is taken a group at a time."""
        with self._changes:
            self._above.clear()
        anchor = b""
        for last, _ in self._namespace.records():
            if last[:ANCHOR_BYTES] != anchor:
                anchor = last[:ANCHOR_BYTES]
                with self._changes:
                    self._tidy(anchor)
        while self._evicted:
            with self._changes:
                self._tidy_evicted(1)

    def _tidy(self, anchor: bytes) -> None:
        """Bring the trails of one group in line with its pages. If none is left, the group above may be next."""

        def occupied(child: bytes) -> bool:
            """Whether a group below has trails; if so it is what keeps this one from being tidied away."""
            if not any(True for _ in self._namespace.records(child)):
                return False
            self._above[child] = anchor
            return True

        self._evicted.discard(anchor)
        records = dict(self._namespace.records(anchor))
        changes = dict(tidy(list(records.items()), self._namespace.contains_own, occupied))
        if changes:
            try:
                self._namespace.write_records(changes)
            except BaseException:
                self._evicted.add(anchor)
                raise
        if not any(path is not None for path in (records | changes).values()) and anchor in self._above:
            self._evicted.add(self._above.pop(anchor))


def _page_number(first_page: int) -> int:
    """``first_page`` if it is a count, else InvalidArgumentError."""
    if isinstance(first_page, bool) or not isinstance(first_page, int) or first_page < 0:
        msg = f"first_page = {first_page!r}: must be an integer of at least 0"
        raise InvalidArgumentError(msg)
    return first_page
