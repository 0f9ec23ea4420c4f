"""The same bits in and out of a GPU's memory: every dtype, any strides, ``out`` on either side. Skipped where there is none."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from lsmkv_tensor import PageFormat, PageSpans, StoreOptions, TensorStore
from lsmkv_tensor.adapters.transformers import PrefixCache, page_format_for
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import DTYPES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch.cuda.is_available() is false")

DEVICE = "cuda"
INTS = {1: torch.int8, 2: torch.int16, 4: torch.int32}
TOKENS = list(range(100, 117))  # 8 pages of 2 tokens and one token more
SHAPE = (2, 3, 2, 8)
INT8 = PageFormat(page_tokens=2, shape=SHAPE, dtype=torch.int8)


@pytest.fixture(params=sorted(DTYPES))
def fmt(request):
    return PageFormat(page_tokens=2, shape=SHAPE, dtype=getattr(torch, request.param))


def random_pages(fmt, n=8, seed=0):
    """[n, *shape] on the CPU, of all bit patterns: NaNs with payloads, denormals and negative zeros are among them."""
    raw = torch.randint(0, 256, (n * fmt.page_bytes,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return raw.view(fmt.dtype).view(n, *fmt.shape)


def bits(tensor):
    return tensor.cpu().contiguous().view(torch.uint8)


def same(pages, expected):
    return len(pages) == len(expected) and all(torch.equal(bits(a), bits(b)) for a, b in zip(pages, expected, strict=True))


def turned(page):
    """The same values, the last two dimensions the other way round in memory."""
    return page.transpose(-1, -2).contiguous().transpose(-1, -2)


FORMS = {
    "whole": lambda pages: pages,
    "list": list,
    "tuple of copies": lambda pages: tuple(page.clone() for page in pages),
    "pages last": lambda pages: pages.movedim(0, -1).contiguous().movedim(-1, 0),
    "every second": lambda pages: pages.repeat_interleave(2, dim=0)[::2],
    "turned": lambda pages: [turned(page) for page in pages],
    "wide rows": lambda pages: torch.cat([pages, pages], dim=-1)[..., : pages.shape[-1]],
    "both sides": lambda pages: [page.cpu() if i % 2 else page for i, page in enumerate(pages)],
}


def formed(fmt, form, pages):
    """Pages on the GPU in one of the forms. Shaped as integers of the same width: not every operation knows every float8."""
    made = FORMS[form](pages.view(INTS[DTYPES[fmt.dtype_name]]).to(DEVICE))
    return made.view(fmt.dtype) if isinstance(made, torch.Tensor) else type(made)(page.view(fmt.dtype) for page in made)


# in


@pytest.mark.parametrize("form", FORMS)
def test_pages_are_stored_from_the_gpu_bit_for_bit(reopen, fmt, form):
    pages = random_pages(fmt)
    given = formed(fmt, form, pages)
    store = reopen(fmt)
    assert store.put_batch(TOKENS, given) == 8
    assert store.probe(TOKENS) == 16
    for got in (store.get_batch(TOKENS), reopen(fmt).get_batch(TOKENS)):
        assert same(got, pages)
        assert {page.device.type for page in got} == {"cpu"}
    assert same(given, pages)  # the caller's memory is as it was


@pytest.mark.parametrize("form", ["whole", "list", "pages last"])
def test_only_missing_pages_are_taken_from_the_gpu(reopen, fmt, form):
    """Pages 2 and 5 are there already, with other bytes: they stay, the others come from one tensor by their positions."""
    pages, before = random_pages(fmt), random_pages(fmt, seed=1)
    store = reopen(fmt)
    for i in (2, 5):
        assert store.put_batch(TOKENS, [before[i]], first_page=i) == 1
    assert store.put_batch(TOKENS, formed(fmt, form, pages)) == 6
    assert same(store.get_batch(TOKENS), [before[i] if i in (2, 5) else pages[i] for i in range(8)])


def test_work_still_queued_on_the_gpu_is_in_the_page(reopen):
    """The copy waits for what the same stream is still computing."""
    fmt = PageFormat(2, (8, 1024), torch.float32)
    store = reopen(fmt)
    with torch.cuda.stream(torch.cuda.Stream()):
        pages = torch.zeros(8, *fmt.shape, device=DEVICE)
        square = torch.ones(1024, 1024, device=DEVICE)
        for _ in range(50):
            square = square @ square / 1024
        pages += square[0]
        assert store.put_batch(TOKENS, pages) == 8
    assert all(torch.equal(page, torch.ones(fmt.shape)) for page in store.get_batch(TOKENS))


def test_the_memory_is_the_callers_again_after_a_put(reopen):
    pages = random_pages(INT8)
    given = pages.to(DEVICE)
    store = reopen(INT8)
    store.put_batch(TOKENS, given)
    given.zero_()
    torch.cuda.synchronize()
    assert same(store.get_batch(TOKENS), pages)


def test_gradients_and_negated_views_are_stored_by_value(reopen):
    fmt = PageFormat(2, SHAPE, torch.float32)
    pages = torch.randn(4, *SHAPE)
    store = reopen(fmt)
    assert store.put_batch(TOKENS[:4], pages[:2].to(DEVICE).requires_grad_()) == 2
    assert store.put_batch(TOKENS[:8], torch._neg_view(pages[2:].to(DEVICE)), first_page=2) == 2
    assert same(store.get_batch(TOKENS), [*pages[:2], *-pages[2:]])


def test_tokens_may_be_on_the_gpu(reopen):
    pages = random_pages(INT8)
    store = reopen(INT8)
    assert store.put_batch(torch.tensor(TOKENS, device=DEVICE), pages) == 8
    for tokens in (TOKENS, torch.tensor(TOKENS, dtype=torch.int32, device=DEVICE)):
        assert store.probe(tokens) == 16
        assert same(store.get_batch(tokens), pages)
    assert store.drop(torch.tensor(TOKENS[:10], device=DEVICE)) == 4


# out


OUTS = {
    "gpu": lambda pages: torch.zeros_like(pages, device=DEVICE),
    "gpu, short": lambda pages: torch.zeros_like(pages[:3], device=DEVICE),
    "gpu, long": lambda pages: torch.zeros_like(torch.cat([pages, pages]), device=DEVICE),
    "gpu, list": lambda pages: [torch.zeros_like(page, device=DEVICE) for page in pages],
    "gpu, pages last": lambda pages: torch.zeros(*pages.shape[1:], 8, dtype=pages.dtype, device=DEVICE).movedim(-1, 0),
    "gpu, turned": lambda pages: [turned(torch.zeros_like(page, device=DEVICE)) for page in pages],
    "gpu, side by side": lambda pages: [
        *torch.zeros(*pages.shape[1:-1], 8, pages.shape[-1], dtype=pages.dtype, device=DEVICE).unbind(-2)
    ],
    "cpu": torch.zeros_like,
    "cpu, pinned": lambda pages: torch.zeros_like(pages).pin_memory(),
    "both sides": lambda pages: [torch.zeros_like(page, device=DEVICE if i % 2 else "cpu") for i, page in enumerate(pages)],
}


@pytest.mark.parametrize("out", OUTS)
def test_pages_are_read_to_where_the_caller_wants_them(reopen, fmt, out):
    pages = random_pages(fmt)
    store = reopen(fmt)
    assert store.put_batch(TOKENS, pages.to(DEVICE)) == 8
    made = OUTS[out](pages.view(INTS[DTYPES[fmt.dtype_name]]))
    room = made.view(fmt.dtype) if isinstance(made, torch.Tensor) else [page.view(fmt.dtype) for page in made]
    got = store.get_batch(TOKENS, out=room)
    assert same(got, pages[: len(room)])
    assert same(room[: len(got)], pages[: len(room)])
    assert [(p.device, p.data_ptr()) for p in got] == [(p.device, p.data_ptr()) for p in room[:8]]


def test_only_delivered_pages_are_touched_on_the_gpu(reopen):
    pages = random_pages(INT8)
    store = reopen(INT8)
    store.put_batch(TOKENS, pages[:5])
    room = torch.full((8, *SHAPE), 7, dtype=torch.int8, device=DEVICE)
    assert same(store.get_batch(TOKENS, first_page=1, out=room[1:]), pages[1:5])
    assert bool((room[0] == 7).all())
    assert bool((room[5:] == 7).all())


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(SHAPE, dtype=torch.int8, device=DEVICE).expand(3, *SHAPE),
        lambda: [torch.zeros(SHAPE, dtype=torch.int8, device=DEVICE)] * 2,
        lambda: [*torch.zeros(191, dtype=torch.int8, device=DEVICE).as_strided((2, *SHAPE), (95, 48, 16, 8, 1))],
    ],
    ids=["expanded", "twice", "overlapping"],
)
def test_shared_gpu_memory_is_refused_and_nothing_is_read(reopen, make):
    store = reopen(INT8)
    store.put_batch(TOKENS, random_pages(INT8))
    out = make()
    with pytest.raises(InvalidArgumentError, match="share memory"):
        store.get_batch(TOKENS, out=out)
    assert all(not page.any() for page in out)


# what only the CPU's memory can do


def spans_of(memory, owner):
    """The pages of a contiguous tensor by their addresses."""
    size = memory[0].nbytes
    addresses = memory.data_ptr() + np.arange(len(memory), dtype=np.uint64)[:, None] * np.uint64(size)
    return PageSpans(addresses, np.array([size]), owner)


def test_spans_of_gpu_memory_are_refused_by_name():
    memory = torch.zeros(8, *SHAPE, dtype=torch.int8, device=DEVICE)
    for owner in (memory, [memory], (None, memory)):
        with pytest.raises(InvalidArgumentError, match="owner is a tensor on cuda"):
            spans_of(memory, owner)


def test_spans_of_pinned_memory_are_taken(reopen):
    pages = random_pages(INT8)
    pinned, back = pages.pin_memory(), torch.zeros_like(pages).pin_memory()
    store = reopen(INT8)
    assert store.put_batch(TOKENS, spans_of(pinned, pinned)) == 8
    assert store.get_into(TOKENS, spans_of(back, back)) == 8
    assert same(back, pages)


@pytest.mark.parametrize("form", [lambda pages: pages, list, lambda pages: [[page] for page in pages]])
def test_the_page_store_itself_refuses_gpu_tensors_by_name(reopen, form):
    """Raw buffers are moved by address: only put_batch and get_batch copy."""
    store = reopen(INT8)
    store.put_batch(TOKENS, random_pages(INT8))
    room = form(torch.zeros(8, *SHAPE, dtype=torch.int8, device=DEVICE))
    with pytest.raises(InvalidArgumentError, match=r"page 0: its tensor is on cuda.*: bring it to the CPU first"):
        store.get_into(TOKENS, room)


@pytest.mark.parametrize("change", [lambda page: page.float(), lambda page: page[..., :4], lambda page: page.to_sparse()])
def test_what_is_no_page_is_refused_on_the_gpu_too(reopen, change):
    store = reopen(INT8)
    page = torch.zeros(SHAPE, dtype=torch.int8, device=DEVICE)
    with pytest.raises(InvalidArgumentError, match=r"pages\[1\]"):
        store.put_batch(TOKENS, [page, change(page)])
    assert store.probe(TOKENS) == 0


# a model's cache


class StandInLayer:
    """What the adapter needs of ``transformers.cache_utils.DynamicLayer``."""

    def __init__(self):
        self.keys = self.values = None
        self.is_initialized = False


class StandInCache:
    """What the adapter needs of ``transformers.DynamicCache``."""

    def __init__(self, config):
        self.layers = [StandInLayer() for _ in range(config.num_hidden_layers)]

    def update(self, keys, values, layer):
        self.layers[layer].keys, self.layers[layer].values, self.layers[layer].is_initialized = keys, values, True


class StandInConfig:
    """What the adapter needs of a model's configuration."""

    is_encoder_decoder = False

    def __init__(self, **sizes):
        vars(self).update(sizes)

    def get_text_config(self, decoder=True):
        return self


@pytest.fixture
def library(monkeypatch):
    """(cache class, configuration class) of transformers, or stand-ins where it is not installed."""
    try:
        import transformers  # noqa: PLC0415  # takes seconds, and may be missing
    except ImportError:
        package, module = ModuleType("transformers"), ModuleType("transformers.cache_utils")
        module.DynamicCache, module.DynamicLayer = StandInCache, StandInLayer
        monkeypatch.setitem(sys.modules, "transformers", package)
        monkeypatch.setitem(sys.modules, "transformers.cache_utils", module)
        return StandInCache, StandInConfig
    return transformers.DynamicCache, transformers.LlamaConfig


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("strided", [False, True])
def test_a_cache_on_the_gpu_is_saved_and_restored_onto_it(tmp_path, library, dtype, strided):
    cache_class, config_class = library
    config = config_class(num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, hidden_size=32)
    model = SimpleNamespace(config=config, dtype=dtype, device=torch.device(DEVICE, 0))
    ids = torch.arange(41, device=DEVICE)[None]  # 5 pages of 8 tokens, and one to go on from
    cache = cache_class(config=model.config)
    for i in range(3):
        parts = [torch.randn(1, 2, 41, 8, dtype=dtype, device=DEVICE) for _ in range(2)]
        cache.update(*(map(turned, parts) if strided else parts), i)
    options = StoreOptions(capacity_bytes=64 << 20, segment_bytes=1 << 20)
    with TensorStore.open(str(tmp_path), page_format_for(model, 8), namespace="tiny", options=options) as store:
        prefix_cache = PrefixCache(store, model)
        assert prefix_cache.save(ids, cache) == 5
        restored = prefix_cache.restore(ids)
    for ours, theirs in zip(restored.layers, cache.layers, strict=True):
        for name in ("keys", "values"):
            assert getattr(ours, name).device == model.device
            assert torch.equal(bits(getattr(ours, name)), bits(getattr(theirs, name)[..., :40, :]))
