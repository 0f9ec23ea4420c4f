"""vLLM's real tiering manager over its real primary tier: store, reset the primary tier, promote, compare bytes."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from vllm.v1.kv_offload.base import LookupResult, ReqContext, ScheduleEndContext, make_offload_key
from vllm.v1.kv_offload.config import (
    OffloadingCacheConfig,
    OffloadingConfig,
    OffloadingGroupConfig,
    OffloadingModelConfig,
    OffloadingParallelConfig,
)
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec

CHUNK = 256 << 10
OURS = {"type": "LsmkvTier", "module_path": "lsmkv_tensor.adapters.vllm_tier", "max_bytes": 1 << 28, "conflict_wait_s": 0.1}


def config(tier, engine="engine-0", chunks=64, model="m"):
    return OffloadingConfig(
        groups=(OffloadingGroupConfig(tokens_per_block=16, layer_names=("l0", "l1"), group_id=0),),
        worker_kv_bytes_per_block=CHUNK,
        enable_kv_cache_events=False,
        extra_config={"cpu_bytes_to_use": chunks * CHUNK, "secondary_tiers": [tier]},
        engine_id=engine,
        model=OffloadingModelConfig(name=model, dtype="bfloat16"),
        cache=OffloadingCacheConfig(tokens_per_hash=16, blocks_per_chunk=1),
        parallel=OffloadingParallelConfig(
            rank=0,
            world_size=1,
            tp_size=1,
            pp_size=1,
            pcp_size=1,
            dcp_size=1,
            data_parallel_index=0,
            data_parallel_size=1,
            data_parallel_rank_local=None,
            is_parallelism_agnostic=False,
        ),
    )


def key(i):
    return make_offload_key(hashlib.sha256(b"block %d" % i).digest(), 0)


def content(i):
    return np.random.default_rng(i).integers(0, 256, CHUNK, dtype=np.uint8)


class Engine:
    """What vLLM's scheduler does with the manager, step by step; the GPU's copies are NumPy's."""

    def __init__(self, tier, **changes):
        self.spec = TieringOffloadingSpec(config(tier, **changes))
        self.manager = self.spec.get_manager()
        self.tier = self.manager.secondary_tiers[0]
        self.memory = np.asarray(self.tier._primary_kv_view).view(np.uint8)
        self.requests = 0

    def request(self):
        self.requests += 1
        request = ReqContext(req_id=f"request {self.requests}")
        self.manager.on_new_request(request)
        return request

    def step(self, request=None):
        self.manager.on_schedule_end(ScheduleEndContext(new_req_ids=[request.req_id] if request else [], preempted_req_ids=[]))

    def settle(self):
        for _ in range(5000):
            if not self.manager.has_pending_work():
                return
            self.step()
            time.sleep(0.001)
        raise AssertionError("work is still pending")

    def store(self, ids):
        request = self.request()
        keys = [key(i) for i in ids]
        for n, one in enumerate(keys):
            request.set_offload_key_position(one, 16 * (n + 1))
        out = self.manager.prepare_store(keys, request)
        for one, chunk in zip(out.keys_to_store, out.store_spec.chunk_ids, strict=True):
            self.memory[int(chunk)] = content(ids[keys.index(one)])
        self.manager.complete_store(out.keys_to_store, request)
        self.step(request)
        self.manager.on_request_finished(request)
        self.settle()

    def load(self, ids):
        """Which blocks are found, and whether each that was has its bytes."""
        request = self.request()
        keys = [key(i) for i in ids]
        verdicts = {}
        for _ in range(5000):
            for one in keys:
                if verdicts.get(one) not in (LookupResult.HIT, LookupResult.MISS):
                    verdicts[one] = self.manager.lookup(one, request)
            self.step(request)
            if all(v in (LookupResult.HIT, LookupResult.MISS) for v in verdicts.values()):
                break
            time.sleep(0.001)
        found = [i for i in ids if verdicts[key(i)] is LookupResult.HIT]
        spec = self.manager.prepare_load([key(i) for i in found], request)
        for i, chunk in zip(found, spec.chunk_ids, strict=True):
            assert np.array_equal(self.memory[int(chunk)], content(i)), i
        self.manager.complete_load([key(i) for i in found], request)
        self.manager.on_request_finished(request)
        self.settle()
        return found

    def empty_primary(self):
        self.manager.reset_cache()
        self.manager.on_reset_flushed()

    def close(self):
        self.manager.shutdown()


@pytest.fixture
def start(tmp_path):
    engines = []

    def make(tier=None, **changes):
        engines.append(
            Engine({**OURS, "path": str(tmp_path / "kv"), **(tier or {})}, engine=f"e{len(engines)}-{tmp_path.name}", **changes)
        )
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_blocks_are_stored_and_promoted_after_the_primary_tier_was_emptied(start):
    engine = start()
    engine.store(range(32))
    engine.empty_primary()
    assert engine.load(range(40)) == list(range(32))
    engine.tier.holding.store.sync()
    engine.tier.get_finished_jobs()
    assert engine.tier.counts["stored_pages"] == engine.tier.counts["loaded_pages"] == 32


def test_a_restarted_engine_finds_them(start):
    engine = start()
    engine.store(range(8))
    engine.close()
    assert start().load(range(8)) == list(range(8))


def test_another_model_does_not(start):
    start().store(range(4))
    assert start({"on_conflict": "fresh"}, model="other").load(range(4)) == []


def test_a_damaged_block_costs_itself_alone_and_its_request_goes_on(start, tmp_path):
    engine = start({"direct_io": "off"})
    engine.store(range(32))
    engine.close()
    damaged = 0
    for segment in (tmp_path / "kv").rglob("*.seg"):
        data = bytearray(segment.read_bytes())
        at = data.find(content(5).tobytes())
        if at >= 0:
            data[at + 1000] ^= 1
            segment.write_bytes(data)
            damaged += 1
    assert damaged == 1
    fresh = start()
    assert fresh.load(range(32)) == [i for i in range(32) if i != 5]
    assert fresh.tier.counts["missing_pages"] == 1


def test_statistics_are_vllms(start):
    engine = start()
    engine.store(range(3))
    engine.tier.holding.store.sync()  # chunks count when they are written
    names = type(engine.tier).build_metric_definitions({})
    stats = engine.tier.get_stats()
    counters = stats.metric_sections()[1]
    assert counters["vllm:lsmkv_stored_pages"] == {(): 3}
    assert set(counters) <= set(names)
    assert engine.tier.get_stats() is None


PRESSURE = {"backpressure": {"backpressure_cls": "EMABackpressureDetector", "failure_threshold": 3, "decay_half_life_s": 1e6}}


def test_vllm_offers_nothing_to_a_tier_that_cannot_store(start, tmp_path):
    """As the page on the tier has it: its refusals reach vLLM's detector of back-pressure."""
    (tmp_path / "file").write_text("")
    engine = start({"path": str(tmp_path / "file"), **PRESSURE})
    for i in range(5):
        engine.store([i])
    assert engine.tier.bp_detector.is_under_pressure()
    assert engine.tier.counts["declined_pages"] == 3, "two stores were not offered any more"
    well = start(PRESSURE)
    for i in range(5):
        well.store([i])
    assert not well.tier.bp_detector.is_under_pressure()


def test_nothing_touches_the_primary_tier_after_it_was_drained(start):
    """VLLM resets its cache while chunks are on their way."""
    engine = start({"put_queue_bytes": 0})
    request, keys = engine.request(), [key(i) for i in range(32)]
    out = engine.manager.prepare_store(keys, request)
    for one, chunk in zip(out.keys_to_store, out.store_spec.chunk_ids, strict=True):
        engine.memory[int(chunk)] = content(keys.index(one))
    engine.manager.complete_store(out.keys_to_store, request)
    engine.step(request)
    engine.manager.on_request_finished(request)
    engine.empty_primary()
    assert not engine.tier.has_pending_work()
    engine.memory[:] = 0
    assert engine.load(range(32)) == list(range(32))


def test_the_file_tier_for_comparison(start, tmp_path):
    """The same steps through vLLM's own tier: the same blocks."""
    engine = Engine({"type": "fs", "root_dir": str(tmp_path / "fs")}, engine="fs")
    engine.store(range(12))
    engine.empty_primary()
    assert engine.load(range(16)) == list(range(12))
    engine.close()
