"""The scheduler's role: how long a prefix of a request is stored, and which blocks are read and written.

The scheduler must not wait for an index block. A request is asked for when vLLM hears of it, in the background, and most often
the answer is there before the request is scheduled; while it is not, vLLM is told to come again. A disk that does not answer
within ``io_timeout_s`` has nothing.

How far a request has been saved is one number. Blocks are saved in the step that fills them, as soon as their hash is known (with
asynchronous scheduling that is a step later than the tokens themselves). When vLLM goes back, because the request was preempted,
the number goes back with it.

A request is loaded once. If that failed from its first block on, vLLM asks again as if it were new, and would be sent to the same
page for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.adapters.jobs import Jobs
from lsmkv_tensor.adapters.vllm_connector.plan import Load, Plan, RankPages, Save
from lsmkv_tensor.adapters.vllm_connector.settings import IO_TIMEOUT_S, ConnectorSettings
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.followed import FollowedNamespace, PageFollower

__all__ = ["SchedulerSide"]

Request: TypeAlias = Any
"""vLLM's ``Request``."""
Blocks: TypeAlias = Any
"""vLLM's ``KVCacheBlocks``."""
Output: TypeAlias = Any
"""vLLM's ``SchedulerOutput``."""

_log = logging.getLogger(__name__)


class _Question:
    """Asked for a request: how many blocks from ``first`` on are there."""

    def __init__(self, first: int, until: float) -> None:
        self.first = first
        self.until = until
        """When the disk is given up."""
        self.found: int | None = None

    def ask(self, count: Callable[[], int]) -> None:
        """Have it answered, on a thread of ours."""
        self.found = count()

    def give_up(self, error: Exception | None = None) -> None:
        """Nothing is there."""
        if error is not None:
            _log.warning("lsmkv: what is stored cannot be told: %s: %s", type(error).__name__, error)
        self.found = 0


class _Live:
    """A request that has blocks of the paged cache."""

    def __init__(self, request: Request, local: int) -> None:
        self.request = request
        self.local = local
        """Blocks that vLLM had when it was scheduled; 0 once retention has heard of them."""
        self.saved = -1
        """Blocks from the first on that were saved, or need not be; -1: it has not begun."""
        self.table: list[int] = []
        """Its blocks."""


class SchedulerSide:
    """One engine's scheduler. All calls come from one thread."""

    def __init__(self, settings: ConnectorSettings, block: tuple[int, int], *, reads: bool, writes: bool) -> None:
        """``block``: tokens and block hashes of one. ``reads``, ``writes``: what the engine's role allows. I/O: none yet."""
        self._tokens, self._hashes = block
        self._reads, self._writes = reads, writes
        self._clock = settings.options.clock or SystemClock()
        self._wait_s = settings.options.io_timeout_s or IO_TIMEOUT_S
        self._follower = PageFollower.open(settings.path, options=settings.options)
        self._ranks: list[FollowedNamespace] = []
        self._jobs: Jobs[None] = Jobs("lsmkv-vllm-ask", threads=2)
        self._questions: dict[str, _Question] = {}
        self._locals: dict[str, int] = {}
        self._live: dict[str, _Live] = {}
        self._loads: list[Load] = []
        self._tried: dict[str, int] = {}
        """Requests that were loaded, and how often they had been preempted then."""
        self._forget = False

    def learn_ranks(self, ranks: Mapping[int, RankPages]) -> None:
        """What each rank's pages are called. Until this is told, nothing is found."""
        self._ranks = [self._follower.namespace(pages.fields, pages.page_bytes) for _, pages in sorted(ranks.items())]

    # before a request is scheduled

    def arrived(self, request: Request) -> None:
        """VLLM has a new request. I/O: in the background, as ``PageFollower``'s ``contains_prefix``, a rank."""
        if self._may_read(request) and self._usable(request):
            self._ask(request, 0)

    def matched(self, request: Request, computed: int) -> tuple[int | None, bool]:
        """Tokens beyond ``computed`` that can be loaded, never all that the request has; None: not known yet. I/O: none here.

        And whether they are loaded between steps: they always are.
        """
        self._jobs.finished()
        local = self._locals[request.request_id] = computed // self._tokens
        tried = self._tried.get(request.request_id) == request.num_preemptions
        if tried or not self._may_read(request) or self._usable(request) <= local:
            return 0, False
        question = self._questions.get(request.request_id)
        if question is None:
            question = self._ask(request, local)
        elif question.found is not None and not question.first <= local <= question.first + question.found:
            question = self._ask(request, local)  # vLLM has other blocks than it had
        if question.found is None:
            if self._clock.monotonic() < question.until:
                return None, False
            question.give_up()
        found = min(question.first + (question.found or 0), self._usable(request))
        return max(found - local, 0) * self._tokens, found > local

    def allocated(self, request: Request, blocks: Blocks, external: int) -> None:
        """The request has blocks; ``external`` of its tokens are to be loaded. Once they are this is called again, with 0."""
        name = request.request_id
        local = self._locals.pop(name, 0)
        self._questions.pop(name, None)
        if name not in self._live:
            self._live[name] = _Live(request, local)
        n = external // self._tokens
        if n:
            self._tried[name] = request.num_preemptions
            own = blocks.get_block_ids()[0][local : local + n]
            self._loads.append(Load(name, self._keys(request, local, local + n), list(own)))

    # steps

    def plan(self, output: Output) -> Plan:
        """What this step reads and writes."""
        plan = Plan(loads=self._loads, forget=self._forget)
        self._loads, self._forget = [], False
        for new in output.scheduled_new_reqs:
            self._work(plan, output, new.req_id, new.num_computed_tokens, new.block_ids, fresh=True)
        cached = output.scheduled_cached_reqs
        for name, computed, blocks in zip(cached.req_ids, cached.num_computed_tokens, cached.new_block_ids, strict=True):
            self._work(plan, output, name, computed, blocks, fresh=name in cached.resumed_req_ids)
        return plan

    def finished(self, name: str) -> None:
        """The request has ended."""
        self._live.pop(name, None)
        self._tried.pop(name, None)
        self._questions.pop(name, None)
        self._locals.pop(name, None)

    def reset(self) -> None:
        """Every page of the engine is to be dropped, with the next step."""
        self._forget = True
        self._questions.clear()

    def close(self) -> None:
        """Let go of everything. I/O: none that waits for a disk that hangs."""
        if self._jobs.stop(0.0).ended:
            self._follower.close()

    # helpers

    def _may_read(self, request: Request) -> bool:
        """Whether its prefix may come from a cache at all."""
        return self._reads and bool(self._ranks) and not request.skip_reading_prefix_cache

    def _usable(self, request: Request) -> int:
        """Blocks that may be loaded: at least one token must be computed, or there is nothing to go on from."""
        return int(min((request.num_tokens - 1) // self._tokens, len(request.block_hashes) // self._hashes))

    def _keys(self, request: Request, first: int, end: int) -> list[bytes]:
        """The keys of these blocks: the hash at a block's end covers everything before it."""
        step = self._hashes
        return [bytes(key) for key in request.block_hashes[(first + 1) * step - 1 : end * step : step]]

    def _ask(self, request: Request, first: int) -> _Question:
        """Have it found out how many blocks from ``first`` on are there."""
        question = _Question(first, self._clock.monotonic() + self._wait_s)
        self._questions[request.request_id] = question
        keys = self._keys(request, first, self._usable(request))
        taken = self._jobs.submit("load", len(keys), lambda: question.ask(lambda: self._count(keys)), question.give_up)
        if not taken:
            question.give_up()
        return question

    def _count(self, keys: Sequence[bytes]) -> int:
        """How many of these, from the first on, every rank has."""
        try:
            found = len(keys)
            for rank in self._ranks:
                found = rank.contains_prefix(keys[:found]) if found else 0
        except LsmError as error:
            _log.warning("lsmkv: what is stored cannot be told: %s", error)
            return 0
        return found

    def _work(
        self, plan: Plan, output: Output, name: str, computed: int, blocks: Sequence[Sequence[int]] | None, *, fresh: bool
    ) -> None:
        """Add what is computed of a request, and the blocks that are full then and whose hashes are known."""
        live = self._live.get(name)
        if live is None:
            return
        if fresh:
            live.table.clear()
        if blocks:
            live.table.extend(blocks[0])
        if live.local:
            plan.used.append(self._keys(live.request, 0, live.local))
            live.local = 0
        if not self._writes:
            return
        first = computed // self._tokens
        first = live.saved = first if live.saved < 0 else min(live.saved, first)
        after = computed + output.num_scheduled_tokens.get(name, 0)
        full = min(after // self._tokens, len(live.request.block_hashes) // self._hashes, len(live.table))
        if full > first:
            keys = self._keys(live.request, max(first - 1, 0), full)
            parent = keys.pop(0) if first else None
            plan.saves.append(Save(keys, live.table[first:full], parent))
            live.saved = full
