"""A small engine that calls a connector as vLLM does: blocks, a prefix cache of its own, chunks of a prompt, loads that fail.

What a block holds depends on its tokens and on what the block before it holds *in the cache at that moment*, as attention has it.
So a block computed from one that was not read right is wrong too, and shows.
"""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import torch

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing import FaultFileSystem, ManualClock, MemoryFileSystem
from lsmkv_tensor.adapters.vllm_connector import LsmkvConnector
from tests.adapters.vllm import fakes

TOKENS, BLOCKS = 4, 64
SEGMENT, INDEX = 64 << 10, 512 << 10
SHAPE = (2, TOKENS, 8)
"""Heads, tokens, content of a layer's block; bfloat16."""


def layers(blocks=BLOCKS, parts=1):
    """Two layers' caches that lie in memory in different orders; in ``parts`` kernel blocks a block."""
    heads, tokens, content = SHAPE
    plain = torch.zeros((blocks * parts, heads, tokens // parts, content), dtype=torch.bfloat16)
    turned = torch.zeros((blocks * parts, tokens // parts, heads, content), dtype=torch.bfloat16).permute(0, 2, 1, 3)
    return {"l0": plain, "l1": turned}


class Engine:
    """One engine of ``ranks`` workers."""

    def __init__(self, machine, *, ranks=1, chunk=3 * TOKENS, config=None, **settings):
        fixed = {"path": "/kv", "max_bytes": INDEX + 8192 + 6 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX}
        fixed |= {"fs": machine.fs, "clock": machine.clock, "rng": seeded(1), "scheduler": ManualScheduler()}
        fixed |= {"io_timeout_s": None, "conflict_wait_s": 0.0}
        extra = {**fixed, **settings}
        self.chunk = chunk
        self.caches = [layers() for _ in range(ranks)]
        sizes = {"tensor_parallel_size": ranks}
        self.workers = [
            LsmkvConnector(
                fakes.vllm_config(extra, **sizes, rank=rank, **(config or {})),
                fakes.KVConnectorRole.WORKER,
                fakes.cache_config(BLOCKS, TOKENS),
            )
            for rank in range(ranks)
        ]
        self.scheduler = LsmkvConnector(
            fakes.vllm_config(extra, **sizes, **(config or {})),
            fakes.KVConnectorRole.SCHEDULER,
            fakes.cache_config(BLOCKS, TOKENS),
        )
        for worker, caches in zip(self.workers, self.caches, strict=True):
            worker.register_kv_caches(caches)
        self.scheduler.set_xfer_handshake_metadata({i: through(w.get_handshake_metadata()) for i, w in enumerate(self.workers)})
        self.known, self.tables, self.free = {}, {}, list(range(BLOCKS))
        self.loading, self.ready, self.told, self.failed = {}, set(), {}, set()
        self.requests, self.hits, self.grown = 0, 0, set()
        machine.engines.append(self)

    @property
    def counts(self):
        return self.workers[0].worker.counts

    def run(self, prompts):
        """Compute these prompts together; what each one's whole blocks hold then, on every rank."""
        live = [self._request(tokens) for tokens in prompts]
        self.scheduler.scheduler._jobs.wait_idle()  # so that they all begin in one step
        waiting, running = list(live), []
        for _ in range(500):
            if not waiting and not running and not self.loading:
                break
            self._step(waiting, running)
        assert not waiting
        assert not running
        found = [[self._held(rank, self.tables[r.request_id][: len(r.block_hashes)]) for rank in self.caches] for r in live]
        for request in live:
            self.scheduler.request_finished(request, self.tables.pop(request.request_id))
        self.settle()
        self.forget_local()
        return found

    def _request(self, tokens):
        self.requests += 1
        request = fakes.Request(f"r{self.requests}", tokens, TOKENS)
        self.scheduler.on_new_request(request)
        return request

    def forget_local(self):
        """An empty prefix cache, and other bytes in every block."""
        self.known.clear()
        self.free = list(range(BLOCKS))
        for caches in self.caches:
            for cache in caches.values():
                cache.fill_(3.0)

    def settle(self):
        for worker in self.workers:
            worker.worker.settle()

    def close(self):
        for connector in (*self.workers, self.scheduler):
            connector.shutdown()

    def _step(self, waiting, running):
        """One step: schedule, compute, save; between steps loads come, or do not."""
        began, scheduled = {}, {}
        for request in running:
            self._schedule(request, began, scheduled)
        older = list(scheduled)
        added = [(self.tables[name][-1:],) if name in self.grown else None for name in older]
        self.grown.clear()
        new = [one for request in list(waiting) if (one := self._admit(request, waiting, running, began, scheduled))]
        cached = fakes.CachedRequestData(older, set(), added, [began[name] for name in older])
        plan = self.scheduler.build_connector_meta(fakes.SchedulerOutput(new, cached, scheduled))
        came, failed = [], set()
        for worker, caches in zip(self.workers, self.caches, strict=True):
            worker.bind_connector_metadata(through(plan))
            worker.start_load_kv(None)
            for request in running:
                self._compute(caches, request, began.get(request.request_id, 0), scheduled.get(request.request_id, 0))
            worker.wait_for_save()
            if not scheduled and self.loading:
                worker.worker._jobs.wait_idle()
            saved, loaded = worker.get_finished(set())
            assert saved is None
            came += loaded or ()
            failed |= worker.get_block_ids_with_load_errors()
            worker.clear_connector_metadata()
        running[:] = [r for r in running if r.num_computed_tokens < r.num_tokens]
        self.failed |= failed
        for name in came:
            self.told[name] = self.told.get(name, 0) + 1
            if self.told[name] == len(self.workers):
                self._arrive(self.loading.pop(name), waiting)

    def _arrive(self, request, waiting):
        """All ranks have told that they are done: go on behind the last block that came, from the start if none did."""
        table = self.tables[request.request_id]
        n = request.num_computed_tokens // TOKENS
        good = next((i for i, block in enumerate(table[:n]) if block in self.failed), n)
        self.failed -= set(table)
        self.told.pop(request.request_id)
        request.num_computed_tokens = good * TOKENS
        self._know(request)
        if not good:
            self.free += self.tables.pop(request.request_id)
        self.ready.add(request.request_id)
        waiting.append(request)

    def _admit(self, request, waiting, running, began, scheduled):
        """Give a request its blocks, but for the last one, which it gets when it is needed; None: it waits."""
        name = request.request_id
        if not (name in self.ready and request.num_computed_tokens):
            local = self._local(request)
            external, later = self.scheduler.get_num_new_matched_tokens(request, local * TOKENS)
            if external is None:
                self.scheduler.scheduler._jobs.wait_idle()
                return None
            assert external % TOKENS == 0
            assert later is (external > 0)
            assert not external or local * TOKENS + external < request.num_tokens
            table = [self.known[key] for key in request.block_hashes[:local]]
            table += [self.free.pop(0) for _ in range(-(-request.num_tokens // TOKENS) - local)]
            self.tables[name] = table
            self.scheduler.update_state_after_alloc(request, fakes.KVCacheBlocks(table), external)
            request.num_computed_tokens = local * TOKENS + external
            if external:
                self.hits += external // TOKENS
                self.loading[name] = request
                waiting.remove(request)
                return None
        else:
            self.scheduler.update_state_after_alloc(request, fakes.KVCacheBlocks(self.tables[name]), 0)
        waiting.remove(request)
        running.append(request)
        table, computed = self.tables[name], request.num_computed_tokens
        self._schedule(request, began, scheduled)
        short = len(table) > 1 and request.num_computed_tokens <= (len(table) - 1) * TOKENS
        if short:
            self.grown.add(name)
        return fakes.NewRequestData(name, (table[:-1] if short else table,), computed)

    def _schedule(self, request, began, scheduled):
        """Tokens of a request for this step. VLLM knows their blocks from now on, though they are not computed yet."""
        name, start = request.request_id, request.num_computed_tokens
        if start >= request.num_tokens:
            return
        began[name], scheduled[name] = start, min(self.chunk, request.num_tokens - start)
        request.num_computed_tokens += scheduled[name]
        self._know(request)

    def _know(self, request):
        """The request's blocks are in vLLM's own cache, as far as they are computed, or will be in this step."""
        full = request.num_computed_tokens // TOKENS
        for key, block in zip(request.block_hashes[:full], self.tables[request.request_id], strict=False):
            self.known.setdefault(key, block)

    def _local(self, request):
        """Blocks that the prefix cache has; never all of the prompt."""
        n = 0
        for key in request.block_hashes[: (request.num_tokens - 1) // TOKENS]:
            if key not in self.known:
                break
            n += 1
        return n

    def _compute(self, caches, request, start, n):
        """Fill the blocks whose last token is computed now."""
        table = self.tables[request.request_id]
        for i in range(start // TOKENS, (start + n) // TOKENS):
            above = self._held(caches, table[i - 1 : i])[0] if i else b""
            tokens = pickle.dumps(request.tokens[i * TOKENS : (i + 1) * TOKENS])
            for name, cache in caches.items():
                seed = int.from_bytes(hashlib.sha256(above + tokens + name.encode()).digest()[:8])
                content = np.random.default_rng(seed).integers(0, 100, SHAPE).astype(np.float32)
                cache[table[i]] = torch.from_numpy(content).to(cache.dtype)

    def _held(self, caches, table):
        return [b"".join(c[block].float().numpy().tobytes() for c in caches.values()) for block in table]


def through(message):
    """As it arrives in another process."""
    return pickle.loads(pickle.dumps(message))


class Machine:
    """A disk in memory, and engines on it."""

    def __init__(self):
        self.fs = FaultFileSystem(MemoryFileSystem())
        self.clock = ManualClock()
        self.engines = []

    def start(self, **changes):
        return Engine(self, **changes)

    def restart(self, **changes):
        """The engine of before is gone."""
        self.engines.pop().close()
        return self.start(**changes)

    def close(self):
        self.fs.clear()
        for engine in self.engines:
            engine.close()


def expected(tokens, ranks=1):
    """What the whole blocks of a prompt hold, computed without a connector."""
    above, found = b"", []
    for at in range(0, len(tokens) - TOKENS + 1, TOKENS):
        block = b""
        for name in ("l0", "l1"):
            seed = int.from_bytes(
                hashlib.sha256(above + pickle.dumps(list(tokens[at : at + TOKENS])) + name.encode()).digest()[:8]
            )
            content = np.random.default_rng(seed).integers(0, 100, SHAPE).astype(np.float32)
            block += torch.from_numpy(content).to(torch.bfloat16).float().numpy().tobytes()
        found.append(block)
        above = block
    return [found] * ranks
