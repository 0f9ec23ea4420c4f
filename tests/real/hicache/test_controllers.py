"""SGLang's plain controller with its four threads on the backend, beside SGLang's file backend: the same hits and bytes."""

from __future__ import annotations

import pytest
import torch
from sglang.srt.mem_cache.utils import get_storage_hash_str

from tests.real.hicache.world import LAYOUTS, PAGE, controller, extra, host_pool, slots

PAGES = 300
TOKENS = list(range(PAGES * PAGE))
WAIT_S = 60


def back_up(made, pages, hint=False):
    """Have these pages of the pool written, as their number in the chain; what the controller says is done."""
    chain = get_storage_hash_str(TOKENS, None, page_size=PAGE)
    keys = [chain[page] for page in pages]
    tokens = TOKENS[pages[0] * PAGE : (pages[-1] + 1) * PAGE]
    made.write_storage(slots(pages), tokens, hash_value=keys, prefix_keys=chain[: pages[0]] if hint else None)
    return made.ack_backup_queue.get(timeout=WAIT_S).completed_tokens


def ask(made, tokens, name="r"):
    """Have the storage asked; the operation, and how many tokens it holds."""
    made.prefetch(name, tokens)
    operation = made.prefetch_hit_queue.get(timeout=WAIT_S)
    return operation, operation.storage_hit_count


def fetch(made, operation, pages):
    """Have what was found read into these pages of the pool; tokens that came, as the last of the controller's threads says."""
    operation.host_indices = slots(pages[: len(operation.hash_value)])
    made.prefetch_buffer.put(operation)
    done = 0
    while not (ack := made.ack_prefetch_queue.get(timeout=WAIT_S)).completed_req:
        done = ack.completed_tokens
    return done


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_controllers_threads_find_what_they_find_in_files(tmp_path, layout):
    """Three batches, a gap, a longer chain, a restart; backups beside prefetches."""
    results = {}
    for kind in ("file", "slots", "tensors"):
        source = host_pool(layout, seed=1)
        found = results[kind] = []
        path = tmp_path / kind
        with controller(source, path, kind) as made:
            found.append(back_up(made, list(range(200))))
            found.append(back_up(made, list(range(100, 260)), hint=True))
            found.append(back_up(made, list(range(270, PAGES))))
        target = host_pool(layout)
        with controller(target, path, kind) as made:
            for length in (PAGES, 130, 128, 3):
                operation, hit = ask(made, TOKENS[: length * PAGE])
                done = fetch(made, operation, list(range(512 - length, 512)))
                found += [hit, done]
            found.append(target.kv_buffer.clone())
            assert ask(made, [7] * 64)[1] == 0
        want, got = ([*results["file"][:-1]], [*found[:-1]])
        assert got == want
        assert torch.equal(found[-1], results["file"][-1])
    assert results["file"][3:5] == [260 * PAGE] * 2


def test_backups_and_prefetches_run_beside_each_other(tmp_path):
    source = host_pool("page_first", seed=1)
    with controller(source, tmp_path, "slots") as made:
        back_up(made, list(range(128)))
        chain = get_storage_hash_str(TOKENS, None, page_size=PAGE)
        for start in range(128, 288, 32):
            pages = list(range(start, start + 32))
            made.write_storage(slots(pages), TOKENS[start * PAGE : (start + 32) * PAGE], hash_value=chain[start : start + 32])
            operation, hit = ask(made, TOKENS[: 128 * PAGE])
            assert hit == 128 * PAGE
            assert fetch(made, operation, list(range(300, 428))) == 128 * PAGE
        for _ in range(5):
            assert made.ack_backup_queue.get(timeout=WAIT_S).completed_tokens == 32 * PAGE
        assert torch.equal(source.get_data_page(300 * PAGE), source.get_data_page(0))
        assert ask(made, TOKENS)[1] == 288 * PAGE
        stats = made.storage_backend.get_stats()
        assert sum(stats.backup_pgs) == 288
        made.reset()
        assert ask(made, TOKENS)[1] == 288 * PAGE, "the threads were joined and started again"
        made.storage_backend.clear()
        assert ask(made, TOKENS)[1] == 0


def test_a_backend_that_holds_nothing_keeps_the_controllers_operations_whole(tmp_path):
    """A second server on the directory: the controller is told that all is well, and finds what the first one has."""
    with controller(host_pool("page_first", seed=1), tmp_path, "slots") as first:
        back_up(first, list(range(140)))
        first.storage_backend.holding.store.sync()
        with controller(host_pool("page_first", seed=1), tmp_path, "slots") as second:
            assert second.storage_backend.holding.state == "following"
            assert back_up(second, list(range(PAGES))) == PAGES * PAGE
            operation, hit = ask(second, TOKENS)
            assert (hit, fetch(second, operation, list(range(200, 500)))) == (140 * PAGE, 140 * PAGE)


def test_detaching_and_attaching_again(tmp_path):
    with controller(host_pool("page_first", seed=1), tmp_path, "slots") as made:
        back_up(made, list(range(130)))
        made.detach_storage_backend()
        made.attach_storage_backend("dynamic", PAGE, "m", extra(tmp_path / "lsmkv"))
        assert ask(made, TOKENS)[1] == 130 * PAGE
        with pytest.raises(Exception, match="capacity"):
            made.detach_storage_backend() or made.attach_storage_backend(
                "dynamic", PAGE, "m", extra(tmp_path / "lsmkv", capacity=5)
            )
        made.attach_storage_backend("dynamic", PAGE, "m", extra(tmp_path / "lsmkv"))
        assert ask(made, TOKENS)[1] == 130 * PAGE, "what failed to attach left nothing behind"
