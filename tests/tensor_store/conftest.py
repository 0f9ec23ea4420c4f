"""Tensor stores to test: on a namespace in memory (pages can be evicted at will), and on a real directory."""

from types import SimpleNamespace

import pytest
import torch

from lsmkv_tensor import PageFormat, StoreOptions, TensorStore
from lsmkv_tensor.testing import MemoryNamespace

SMALL = PageFormat(page_tokens=2, shape=(2, 3), dtype=torch.int8)


@pytest.fixture
def in_memory():
    """A store over a dict; ``.namespace`` is the dict."""
    namespace = MemoryNamespace(SMALL.page_bytes)
    store = TensorStore(SimpleNamespace(gc=lambda: None), namespace, SMALL)
    store.namespace = namespace
    return store


@pytest.fixture
def reopen(tmp_path):
    """Opens the same directory again and again; closes whatever is open at the end."""
    opened = []

    def open_store(fmt=SMALL, namespace="model", **options):
        for store in opened:
            store.close()
        options.setdefault("capacity_bytes", 64 << 20)
        options.setdefault("segment_bytes", 256 << 10)
        opened.append(TensorStore.open(str(tmp_path / "store"), fmt, namespace=namespace, options=StoreOptions(**options)))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def page_of():
    """A page whose bytes are a function of the prefix it ends, so that a wrong page is never right by chance."""

    def make(tokens, i, fmt=SMALL):
        seed = hash(tuple(tokens[: (i + 1) * fmt.page_tokens])) & 0x7FFFFFFF
        raw = torch.randint(0, 256, (fmt.page_bytes,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        return raw.view(fmt.dtype).view(fmt.shape)

    return make


@pytest.fixture
def pages_of(page_of):
    """All whole pages of a prompt, or those of a range."""

    def make(tokens, first=0, stop=None, fmt=SMALL):
        stop = len(tokens) // fmt.page_tokens if stop is None else stop
        return [page_of(tokens, i, fmt) for i in range(first, stop)]

    return make
