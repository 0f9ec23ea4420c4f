"""What ``lsmkv size`` says of pages is what a store makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import PageFormat, PageStore, StoreOptions, TensorStore
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import DTYPES
from lsmkv_tensor.sizing import KvShape, PageSize, capacity_for, dwpd, page_size, shape_of_config

LLAMA = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
}


def test_a_token_of_llama_3_8b_takes_128_kib():
    shape = shape_of_config(LLAMA)
    assert shape == KvShape(32, 8, 128, "bfloat16")
    assert shape.token_bytes == 128 << 10
    assert page_size(shape, 64).page_bytes == 8 << 20


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head_dim": 64}, KvShape(32, 8, 64, "bfloat16")),
        ({"num_key_value_heads": None}, KvShape(32, 32, 128, "bfloat16")),
        ({"torch_dtype": None, "dtype": "torch.float16"}, KvShape(32, 8, 128, "float16")),
        ({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, KvShape(32, 1, 576, "bfloat16", tensors=1)),
        ({"kv_lora_rank": None}, KvShape(32, 8, 128, "bfloat16")),
        ({"text_config": {"num_hidden_layers": 12, "torch_dtype": None}}, KvShape(12, 8, 128, "bfloat16")),
    ],
)
def test_configs_of_many_kinds_are_read(changes, expected):
    assert shape_of_config({**LLAMA, **changes}) == expected


def test_older_names_are_known():
    gpt = {"n_layer": 12, "n_head": 12, "n_embd": 768}
    assert shape_of_config(gpt, dtype="float32") == KvShape(12, 12, 64, "float32")


def test_what_is_given_goes_first():
    shape = shape_of_config(LLAMA, layers=2, kv_heads=3, head_dim=5, dtype="int8")
    assert shape == KvShape(2, 3, 5, "int8")
    assert shape == shape_of_config({}, layers=2, kv_heads=3, head_dim=5, dtype="int8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_hidden_layers": "32"}, "num_hidden_layers = '32'.*--layers"),
        ({"num_key_value_heads": 0}, "num_key_value_heads = 0.*--kv-heads"),
        ({"num_key_value_heads": True}, "num_key_value_heads = True"),
        ({"hidden_size": None}, "hidden_size or n_embd.*--head-dim"),
        ({"head_dim": -1}, "head_dim = -1.*--head-dim"),
        ({"num_hidden_layers": None}, "num_hidden_layers or n_layer.*--layers"),
        ({"torch_dtype": None}, "torch_dtype is not there: give --dtype"),
        ({"torch_dtype": "int4"}, "dtype = 'int4'.*bfloat16"),
        ({"kv_lora_rank": 512}, "qk_rope_head_dim is not there"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changes, told):
    with pytest.raises(InvalidArgumentError, match=told):
        shape_of_config({**LLAMA, **changes})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", ["raw", "int8", "fp8"])
def test_a_page_takes_what_a_store_makes_of_it(dtype, codec):
    shape = KvShape(6, 4, 64, dtype)
    if codec != "raw" and DTYPES[dtype] == 1:
        with pytest.raises(InvalidArgumentError, match="codec"):
            page_size(shape, 16, codec)
        return
    told = page_size(shape, 16, codec)
    fmt = PageFormat(page_tokens=16, shape=(2, 6, 16, 4, 64), dtype=getattr(torch, dtype))
    assert told.page_bytes == fmt.page_bytes
    options = StoreOptions(capacity_bytes=64 << 20, fs=MemoryFileSystem(), rng=seeded(1), scheduler=ManualScheduler())
    with TensorStore.open("/store", fmt, namespace="m", codec=codec, options=options) as store:
        pages = torch.from_numpy(np.random.default_rng(1).standard_normal((32, *fmt.shape)).astype(np.float32)).to(fmt.dtype)
        assert store.put_batch(list(range(512)), pages) == 32
        stats = store.stats()
    assert stats.put_stored_bytes == 32 * told.stored_bytes
    assert stats.written_bytes - 4096 == 32 * told.disk_bytes


@settings(max_examples=12, deadline=None)
@given(size=st.sampled_from([1, 4096, 5000, 30_000, 200_000]), pages=st.integers(1, 600))
def test_a_store_of_the_capacity_that_was_told_evicts_nothing(size, pages):
    page = PageSize(size, size, (size + 4095) // 4096 * 4096 + 128)
    capacity = capacity_for(pages, page)
    fs = MemoryFileSystem()
    options = StoreOptions(capacity_bytes=capacity, fs=fs, rng=seeded(1), scheduler=ManualScheduler())
    with PageStore.open("/store", options=options) as store:
        ns = store.namespace({"m": 1}, size)
        for start in range(0, pages, 32):
            some = range(start, min(start + 32, pages))
            assert all(ns.put_many([i.to_bytes(28, "big") for i in some], [bytes(size) for _ in some]))
            store.step()
        stats = store.stats()
    assert (stats.pages, stats.evicted_pages, stats.declined_pages) == (pages, 0, 0)


def test_a_hundred_thousand_small_pages_need_room_in_the_index():
    page = PageSize(512, 512, 4096 + 128)
    assert capacity_for(100_000, page) > 32 * 256 * 100_000
    assert capacity_for(100, page) < 32 << 20


@pytest.mark.parametrize(("pages", "size"), [(1, 8 << 20), (51_200, 8 << 20), (10**6, 2 << 20), (10**8, 64 << 10)])
def test_capacities_are_not_wasteful(pages, size):
    page = PageSize(size, size, size + 128)
    told = capacity_for(pages, page)
    index = 32 * 256 * pages * 1.01  # the index has a 32nd of the capacity
    assert pages * size < told < max(1.15 * pages * size, index) + (1 << 28) + 32 * (2 << 20)


def test_a_page_larger_than_a_segment_is_refused():
    with pytest.raises(InvalidArgumentError, match="larger than a segment"):
        capacity_for(1, page_size(KvShape(80, 64, 128, "float32"), 64))


def test_disk_writes_per_day():
    assert dwpd(1e12 / 86_400, 10**12) == pytest.approx(1)
