"""The vLLM connector under an engine of a page, on a disk in memory; `make test-vllm-engine` does it with the real engine."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.testing import FailOp
from lsmkv_tensor.adapters.vllm_connector import LsmkvConnector
from lsmkv_tensor.adapters.vllm_connector.blocks import PagedBlocks
from lsmkv_tensor.errors import InvalidArgumentError
from tests.adapters.vllm import fakes
from tests.adapters.vllm.engine import BLOCKS, TOKENS, Machine, expected, layers


@pytest.fixture
def machine():
    found = Machine()
    yield found
    found.close()


def prompt(blocks, seed=0, rest=1):
    return [seed * 1000 + i for i in range(blocks * TOKENS + rest)]


def same(engine, prompts, ranks=1):
    """Run them; every block is what it is without a cache."""
    assert engine.run(prompts) == [expected(tokens, ranks) for tokens in prompts]
    return engine.hits


def view(engine, rank=0):
    return engine.workers[rank].worker._view()


def test_a_prompt_computed_by_one_engine_is_loaded_by_the_next(machine):
    assert same(machine.start(), [prompt(7)]) == 0
    engine = machine.restart()
    assert same(engine, [prompt(7)]) == 7
    assert engine.counts["loaded_pages"] == 7
    assert engine.counts["stored_pages"] == 0


@pytest.mark.parametrize(("rest", "hits"), [(0, 4), (1, 5)])
def test_one_token_is_always_computed(machine, rest, hits):
    same(machine.start(), [prompt(5, rest=rest)])
    assert same(machine.restart(), [prompt(5, rest=rest)]) == hits


def test_a_longer_prompt_loads_what_it_shares_and_stores_the_rest(machine):
    same(machine.start(), [prompt(3)])
    engine = machine.restart()
    assert same(engine, [prompt(6)]) == 3
    assert engine.counts["stored_pages"] == 3
    writer = view(engine).writer
    request = fakes.Request("r", prompt(6), TOKENS)
    assert [p is None for p in writer.parents(request.block_hashes)] == [True] + [False] * 5


def test_requests_that_share_a_prefix_share_its_blocks(machine):
    long = prompt(4) + prompt(2, seed=5)
    same(machine.start(), [prompt(4), long])
    engine = machine.restart()
    assert same(engine, [prompt(4), long]) == 4 + 6  # while blocks are read nobody else can use them


@pytest.mark.parametrize("chunk", [TOKENS - 1, 2 * TOKENS, 100])
@pytest.mark.parametrize("gone", [slice(2, 4), slice(0, 1), slice(6, 7)])
def test_a_page_that_is_gone_when_it_is_loaded_is_computed(machine, chunk, gone):
    same(machine.start(), [prompt(7), prompt(7, seed=2)])
    engine = machine.restart(chunk=chunk)
    lost = fakes.Request("r", prompt(7), TOKENS).block_hashes[gone]
    reader = view(engine).reader

    def steal(keys, *rest):
        view(engine).writer.delete_many(lost)
        return original(keys, *rest)

    original, reader.get_into = reader.get_into, steal
    try:
        assert same(engine, [prompt(7), prompt(7, seed=2), prompt(7) + prompt(1, seed=3)]) > 0
    finally:
        reader.get_into = original
    assert engine.counts["missing_pages"] >= len(lost)
    assert same(machine.restart(), [prompt(7)]) == 7


def test_a_disk_that_fails_costs_computing_and_is_not_asked_for_ever(machine):
    """The bug this is against: nothing came, vLLM asked again as for a new request, and was sent to the same pages."""
    same(machine.start(), [prompt(7)])
    engine = machine.restart(breaker_failures=0)
    machine.fs.add(FailOp("preadv", path="*.seg"))
    machine.fs.add(FailOp("pread", path="*.seg"))
    assert same(engine, [prompt(7)]) == 7
    assert engine.counts["missing_pages"] == 7
    machine.fs.clear()
    assert same(machine.restart(), [prompt(7)]) == 7


def test_a_request_that_was_preempted_is_loaded_again(machine):
    engine = machine.start()
    same(engine, [prompt(5)])
    machine.clock.advance(1)
    request = fakes.Request("r", prompt(5), TOKENS)
    engine.scheduler.on_new_request(request)
    engine.scheduler.scheduler._jobs.wait_idle()
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (5 * TOKENS, True)
    engine.scheduler.update_state_after_alloc(request, fakes.KVCacheBlocks(list(range(6))), 5 * TOKENS)
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (0, False)
    request.num_preemptions += 1
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (None, False)
    engine.scheduler.scheduler._jobs.wait_idle()
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (5 * TOKENS, True)


def test_full_disks_and_failing_ones_store_nothing_and_end_nothing(machine):
    engine = machine.start(breaker_failures=0)
    machine.fs.add(FailOp("pwritev", path="*.seg"))
    same(engine, [prompt(4)])
    assert engine.counts["failed_pages"] == 4
    machine.fs.clear()


def test_ranks_have_a_directory_each_and_the_scheduler_believes_what_all_have(machine):
    same(machine.start(ranks=2), [prompt(5)], ranks=2)
    engine = machine.restart(ranks=2)
    request = fakes.Request("r", prompt(5), TOKENS)
    view(engine, rank=1).writer.delete_many(request.block_hashes[3:4])
    machine.clock.advance(1)
    assert same(engine, [prompt(5)], ranks=2) == 3
    assert sorted(machine.fs.listdir("/kv")) == ["connector-rank0-dp0", "connector-rank1-dp0"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"dtype": "float32"},
        {"quantization": "fp8"},
        {"cache_dtype": "fp8"},
        {"revision": "2"},
        {"algorithm": "x"},
    ],
)
def test_only_the_same_bytes_are_found(machine, change):
    same(machine.start(), [prompt(4)])
    assert same(machine.restart(config=change), [prompt(4)]) == 0
    assert same(machine.restart(), [prompt(4)]) == 4


def test_another_revision_is_another_model(machine):
    same(machine.start(), [prompt(4)])
    assert same(machine.restart(revision="finetuned"), [prompt(4)]) == 0


def test_roles_do_what_they_are_for(machine):
    same(machine.start(config={"role": "kv_producer"}), [prompt(4)])
    assert same(machine.restart(config={"role": "kv_producer"}), [prompt(4)]) == 0
    engine = machine.restart(config={"role": "kv_consumer"})
    assert same(engine, [prompt(6)]) == 4
    assert engine.counts["stored_pages"] == 0


def test_an_engine_whose_directory_is_taken_reads_and_takes_it_when_it_can(machine):
    first = machine.start()
    same(first, [prompt(4)])
    second = machine.start()
    assert second.workers[0].worker.holding.state == "following"
    assert same(second, [prompt(4), prompt(4, seed=1)]) == 4
    assert second.counts["declined_pages"] == 4
    first.close()
    machine.clock.advance(2)
    same(second, [prompt(4, seed=2)])
    assert second.workers[0].worker.holding.state == "own"
    before = second.counts["stored_pages"]
    same(second, [prompt(4, seed=3)])
    assert second.counts["stored_pages"] == before + 4


def test_a_request_that_may_not_read_caches_does_not(machine):
    engine = machine.start()
    same(engine, [prompt(4)])
    request = fakes.Request("r", prompt(4), TOKENS, skip=True)
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (0, False)


def test_a_disk_that_does_not_answer_has_nothing(machine):
    """A request must not wait for ever for an answer that does not come."""
    engine = machine.start()
    side = engine.scheduler.scheduler
    side._count = lambda keys: held.wait(60) and 0
    held = __import__("threading").Event()
    request = fakes.Request("r", prompt(4), TOKENS)
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (None, False)
    machine.clock.advance(5)
    assert engine.scheduler.get_num_new_matched_tokens(request, 0) == (0, False)
    held.set()


def test_what_vllm_has_already_is_not_loaded_and_retention_hears_of_it(machine):
    engine = machine.start()
    same(engine, [prompt(5)])
    request = fakes.Request("r", prompt(5), TOKENS)
    machine.clock.advance(1)
    engine.scheduler.on_new_request(request)
    engine.scheduler.scheduler._jobs.wait_idle()
    assert engine.scheduler.get_num_new_matched_tokens(request, 2 * TOKENS) == (3 * TOKENS, True)
    engine.scheduler.update_state_after_alloc(request, fakes.KVCacheBlocks(list(range(6))), 3 * TOKENS)
    nobody = fakes.CachedRequestData([], set(), [], [])
    plan = engine.scheduler.build_connector_meta(fakes.SchedulerOutput([], nobody, {}))
    assert [list(load.blocks) for load in plan.loads] == [[2, 3, 4]]
    engine.scheduler.update_state_after_alloc(request, fakes.KVCacheBlocks(list(range(6))), 0)
    new = fakes.NewRequestData("r", (list(range(6)),), 5 * TOKENS)
    plan = engine.scheduler.build_connector_meta(fakes.SchedulerOutput([new], nobody, {"r": 1}))
    assert plan.used == [request.block_hashes[:2]]
    assert (plan.loads, plan.saves) == ([], [])


def test_a_reset_forgets_every_page(machine):
    engine = machine.start()
    same(engine, [prompt(4)])
    assert engine.scheduler.reset_cache() is True
    same(engine, [prompt(2, seed=8)])
    assert list(view(engine).reader.contains(fakes.Request("r", prompt(4), TOKENS).block_hashes)) == [False] * 4
    assert same(machine.restart(), [prompt(4)]) == 0


def test_finer_hashes_than_blocks(machine):
    request = fakes.Request("r", prompt(3), TOKENS, 2)
    scheduler = LsmkvConnector(
        fakes.vllm_config({"path": "/kv", "max_bytes": 1 << 20, "fs": machine.fs, "clock": machine.clock}),
        fakes.KVConnectorRole.SCHEDULER,
        fakes.cache_config(BLOCKS, TOKENS, hash_block_size=2),
    )
    assert scheduler.scheduler._keys(request, 0, 3) == request.block_hashes[1::2]
    assert scheduler.scheduler._usable(request) == 3
    scheduler.shutdown()


def test_blocks_that_find_no_room_in_the_queue_are_not_copied(machine):
    engine = machine.start(max_store_bytes=1)
    worker = engine.workers[0].worker
    with worker._jobs._changed:  # nobody takes a job while this is held, and one waits
        worker._jobs._threads, worker._jobs._idle = 2, 0
    worker._jobs.submit("store", 1, lambda: ("x", 0), lambda _: ("x", 0))
    worker._blocks.read = None
    engine.settle = lambda: None
    same(engine, [prompt(3)])
    assert worker.counts["declined_pages"] == 3
    with worker._jobs._changed:
        worker._jobs._threads, worker._jobs._idle = 0, 0
        worker._jobs._queues["store"].clear()


def test_metrics_are_what_was_gained_since(machine):
    engine = machine.start()
    same(engine, [prompt(3)])
    stats = engine.workers[0].get_kv_connector_stats()
    assert stats.data == {"stored_pages": 3}
    assert engine.workers[0].get_kv_connector_stats() is None
    total = LsmkvConnector.build_kv_connector_stats({"stored_pages": 2, "loaded_pages": 1}).aggregate(stats)
    assert total.reduce() == {"lsmkv stored pages": 5, "lsmkv loaded pages": 1}
    assert not total.is_empty()
    total.reset()
    assert total.is_empty()


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ({}, "path is missing"),
        ({"path": "/kv"}, "max_bytes is missing"),
        ({"path": "", "max_bytes": 1}, "must be the directory"),
        ({"path": "/kv", "max_bytes": 1 << 20, "sise": 1}, "no setting 'sise'"),
        ({"path": "/kv", "max_bytes": 1 << 20, "threads": 0}, "threads = 0"),
        ({"path": "/kv", "max_bytes": 1 << 20, "shutdown_s": "soon"}, "shutdown_s = 'soon'"),
        ({"path": "/kv", "max_bytes": 1 << 20, "on_conflict": "x"}, "on_conflict = 'x'"),
        ({"path": "/kv", "max_bytes": 1 << 20, "revision": 5}, "revision = 5"),
    ],
)
def test_settings_are_named_when_they_are_wrong(extra, match):
    with pytest.raises(InvalidArgumentError, match=match):
        LsmkvConnector(fakes.vllm_config(extra), fakes.KVConnectorRole.WORKER, fakes.cache_config(BLOCKS, TOKENS))


@pytest.mark.parametrize(
    ("config", "caches", "match"),
    [
        ({"policy": "fail"}, {}, '"kv_load_failure_policy": "recompute"'),
        ({"pipeline_parallel_size": 2}, {}, "pipeline_parallel_size = 2"),
        ({"decode_context_parallel_size": 2}, {}, "decode_context_parallel_size = 2"),
        ({"algorithm": "xxhash"}, {}, "PYTHONHASHSEED"),
        ({"speculative": type("S", (), {"use_eagle": lambda _: True})()}, {}, "drafting model"),
        ({}, {"kv_cache_groups": []}, "0 groups"),
        ({}, {"kv_cache_groups": [type("G", (), {"kv_cache_spec": object()})()]}, "object"),
    ],
)
def test_engines_that_are_not_served_are_refused_at_their_start(monkeypatch, config, caches, match):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    with pytest.raises(InvalidArgumentError, match=match):
        LsmkvConnector(
            fakes.vllm_config({"path": "/kv", "max_bytes": 1 << 20}, **config),
            fakes.KVConnectorRole.WORKER,
            fakes.cache_config(BLOCKS, TOKENS, **caches),
        )


def test_the_connector_has_the_signatures_of_the_stand_ins():
    fake = dict(inspect.getmembers(fakes.KVConnectorBase_V1, inspect.isfunction))
    own = {name for name, what in vars(LsmkvConnector).items() if inspect.isfunction(what) or isinstance(what, classmethod)}
    assert own == set(fake)
    for name, function in fake.items():
        ours = list(inspect.signature(getattr(LsmkvConnector, name)).parameters)
        assert ours == list(inspect.signature(function).parameters), name


# pages of the paged cache


@pytest.mark.parametrize("parts", [1, 2])
def test_blocks_come_back_whatever_order_they_lie_in(parts):
    caches = layers(parts=parts)
    for i, cache in enumerate(caches.values()):
        cache.copy_(torch.randn(cache.shape, generator=torch.Generator().manual_seed(i)))
    before = {name: cache.clone() for name, cache in caches.items()}
    blocks = PagedBlocks({**caches, "shared": caches["l0"]}, BLOCKS)
    assert blocks.page_bytes == 2 * 2 * TOKENS * 8 * 2
    pages = blocks.read([5, 0, 17])
    blocks.write([1, 2, 3], pages)
    for name, cache in caches.items():
        for source, target in ((5, 1), (0, 2), (17, 3)):
            assert torch.equal(cache[target * parts : (target + 1) * parts], before[name][source * parts : (source + 1) * parts])
        assert torch.equal(cache[4 * parts :], before[name][4 * parts :])


def test_pages_lie_as_their_layers_do_in_memory():
    caches = layers()
    caches["l1"].copy_(torch.randn(caches["l1"].shape))
    blocks = PagedBlocks(caches, BLOCKS)
    whole = caches["l1"].permute(0, 2, 1, 3)  # as it was made
    assert blocks.read([7])[0, blocks.page_bytes // 2 :].tolist() == whole[7].contiguous().view(torch.uint8).flatten().tolist()
    assert [field[4] for field in blocks.fields()] == [[1, 2, 3], [2, 1, 3]]


@pytest.mark.parametrize(
    ("caches", "match"),
    [
        ({}, "no KV caches"),
        ({"l": [torch.zeros(2)]}, "list"),
        ({"l": torch.zeros(BLOCKS + 1, 2)}, "does not hold"),
        ({"l": torch.zeros(BLOCKS, 4)[:, ::2]}, "blocks of bytes"),
    ],
)
def test_caches_that_are_no_blocks_are_refused(caches, match):
    with pytest.raises(InvalidArgumentError, match=match):
        PagedBlocks(caches, BLOCKS)


# anything


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(0, TOKENS)), min_size=1, max_size=3),
            st.sampled_from([None, "restart", "delete", "reads fail", "writes fail"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([TOKENS - 1, 2 * TOKENS, 100]),
    st.integers(1, 2),
)
def test_whatever_happens_every_block_is_what_it_is_without_a_cache(rounds, chunk, ranks):
    machine = Machine()
    try:
        engine = machine.start(chunk=chunk, ranks=ranks, breaker_failures=0)
        for prompts, event in rounds:
            if event == "restart":
                engine = machine.restart(chunk=chunk, ranks=ranks, breaker_failures=0)
            elif event == "delete":
                writer = view(engine, ranks - 1).writer
                writer.delete_many(list(writer.keys())[::2])
            elif event in ("reads fail", "writes fail"):
                for op in ("preadv", "pread") if event == "reads fail" else ("pwritev",):
                    machine.fs.add(FailOp(op, path="*.seg"))
            asked = [prompt(blocks, rest=rest) + prompt(1, seed=tail) for blocks, tail, rest in prompts]
            assert engine.run(asked) == [expected(tokens, ranks) for tokens in asked]
            machine.fs.clear()
    finally:
        machine.close()
