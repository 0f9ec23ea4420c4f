"""A tensor store across openings, namespaces, evictions, failures and threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import NamespaceMismatchError, PageFormat, StoreOptions, TensorStore
from lsmkv_tensor.errors import InvalidArgumentError, LockedError

PROMPT = [n % 251 for n in range(400)]
BIG = PageFormat(page_tokens=2, shape=(64, 64), dtype=torch.float16)  # 8 KiB a page


def same(pages, expected):
    """Bit for bit: a NaN equals itself."""
    pairs = zip(pages, expected, strict=True)
    return len(pages) == len(expected) and all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in pairs)


def test_what_was_stored_is_there_after_reopening(reopen, pages_of):
    assert reopen().put_batch(PROMPT, pages_of(PROMPT)) == 200
    store = reopen()
    assert store.probe(PROMPT) == 400
    assert same(store.get_batch(PROMPT), pages_of(PROMPT))
    assert store.drop(PROMPT[:100]) == 151
    store = reopen()
    assert store.probe(PROMPT) == 98


def test_namespaces_do_not_see_each_other(reopen, pages_of):
    other = [torch.zeros_like(page) for page in pages_of(PROMPT[:20])]
    reopen(namespace="a").put_batch(PROMPT[:20], pages_of(PROMPT[:20]))
    store = reopen(namespace="b")
    assert store.probe(PROMPT) == 0
    assert store.put_batch(PROMPT[:20], other) == 10
    assert store.drop(PROMPT[:2]) == 10
    store = reopen(namespace="a")
    assert same(store.get_batch(PROMPT), pages_of(PROMPT[:20]))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (PageFormat(4, (2, 3), torch.int8), "page_tokens: stored 2, asked 4"),
        (PageFormat(2, (3, 2), torch.int8), r"shape: stored \[2, 3\], asked \[3, 2\]"),
        (PageFormat(2, (2, 3), torch.float8_e5m2), "dtype: stored 'int8', asked 'float8_e5m2'"),
        (PageFormat(2, (2, 3), torch.float16), "page_bytes: stored 6, asked 12"),
    ],
)
def test_another_format_under_the_same_name_is_refused_and_harms_nothing(reopen, pages_of, other, told):
    reopen().put_batch(PROMPT, pages_of(PROMPT))
    with pytest.raises(NamespaceMismatchError, match=told):
        reopen(other)
    assert same(reopen().get_batch(PROMPT), pages_of(PROMPT))


@pytest.mark.parametrize("namespace", ["", None, b"model", 5])
def test_a_namespace_is_a_name(tmp_path, namespace):
    with pytest.raises(InvalidArgumentError, match="namespace"):
        TensorStore.open(str(tmp_path), BIG, namespace=namespace)


def test_a_format_is_a_format(tmp_path):
    with pytest.raises(InvalidArgumentError, match="PageFormat"):
        TensorStore.open(str(tmp_path), (2, 3), namespace="model")


def test_a_page_larger_than_a_segment_is_refused_and_the_directory_released(reopen):
    with pytest.raises(InvalidArgumentError):
        reopen(PageFormat(2, (1 << 20,), torch.float32))
    assert reopen().probe(PROMPT) == 0


def test_a_second_opening_is_refused(reopen, tmp_path):
    reopen()
    with pytest.raises(LockedError):
        TensorStore.open(str(tmp_path / "store"), BIG, namespace="model")


def test_a_full_store_keeps_answering_exactly(reopen, pages_of):
    """FIFO takes the beginnings of old prompts first; probe and drop stay exact, and trails do not pile up."""
    store = reopen(BIG, capacity_bytes=8 << 20, segment_bytes=256 << 10)
    prompts = [[n, *PROMPT[:79]] for n in range(60)]  # 40 pages each, 19 MB in all
    for prompt in prompts:
        assert store.put_batch(prompt, pages_of(prompt, fmt=BIG)) == 40
    assert store.stats().evicted_pages > 0
    assert store.stats().physical_bytes <= 8 << 20
    for prompt in prompts:
        evicted = store.stats().evicted_pages  # room is made in the background, too
        got = store.get_batch(prompt)
        assert len(got) * 2 == store.probe(prompt) or store.stats().evicted_pages > evicted
        assert same(got, pages_of(prompt, 0, len(got), fmt=BIG))
    assert store.probe(prompts[0]) == 0
    assert store.probe(prompts[-1]) == 80
    store.gc()
    trails = len(list(store._namespace.records()))
    assert trails <= len(list(store._namespace.keys()))
    for prompt in prompts:
        store.drop(prompt[:2])
    assert len(list(store._namespace.keys())) == 0
    assert len(list(store._namespace.records())) == 0


def test_dropped_space_is_used_again(reopen, pages_of):
    store = reopen(BIG, capacity_bytes=8 << 20, segment_bytes=256 << 10)
    for n in range(30):
        prompt = [n, *PROMPT[:79]]
        store.put_batch(prompt, pages_of(prompt, fmt=BIG))
        store.drop(prompt[:2])
        store.gc()
    assert store.stats().evicted_pages == 0


def test_what_was_synced_survives_a_power_cut(pages_of):
    disk = MemoryFileSystem()
    options = StoreOptions(capacity_bytes=64 << 20, segment_bytes=256 << 10, fs=disk)
    store = TensorStore.open("/store", BIG, namespace="model", options=options)
    store.put_batch(PROMPT, pages_of(PROMPT, 0, 100, fmt=BIG))
    store.sync()
    store.put_batch(PROMPT, pages_of(PROMPT, 100, 120, fmt=BIG), first_page=100)
    after = StoreOptions(capacity_bytes=64 << 20, segment_bytes=256 << 10, fs=disk.crash())
    with TensorStore.open("/store", BIG, namespace="model", options=after) as again:
        got = again.get_batch(PROMPT)
        assert 100 <= len(got) <= 120
        assert same(got, pages_of(PROMPT, 0, len(got), fmt=BIG))
        again.drop(PROMPT[:2])
        assert len(list(again._namespace.keys())) == 0


def test_threads_see_whole_pages_and_leave_whole_trails(reopen, pages_of):
    store = reopen(BIG)
    prompts = [[n % 3, n, *PROMPT[:78]] for n in range(12)]

    def work(n):
        prompt = prompts[n]
        for _ in range(3):
            store.put_batch(prompt, pages_of(prompt, fmt=BIG))
            got = store.get_batch(prompt)
            assert same(got, pages_of(prompt, 0, len(got), fmt=BIG))
            assert store.probe(prompt) == 2 * len(got)
            if n % 2:
                store.drop(prompt[:20])
                store.gc()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(len(prompts))))
    for n, prompt in enumerate(prompts):
        assert store.probe(prompt) == (18 if n % 2 else 80)
        store.drop(prompt[:2])
    assert len(list(store._namespace.records())) == 0
