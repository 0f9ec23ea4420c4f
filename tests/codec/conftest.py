"""Pages as bytes of a type, and codecs to put them through."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from lsmkv_tensor import PageFormat
from lsmkv_tensor.codec import decode

TORCH = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "int8": torch.int8,
}


@pytest.fixture
def formats():
    """A PageFormat by shape and name of its dtype; the axis of tokens is the second."""

    def make(shape, dtype):
        return PageFormat(page_tokens=shape[1] if len(shape) > 1 else shape[0], shape=tuple(shape), dtype=TORCH[dtype])

    return make


@pytest.fixture
def through():
    """A page through a codec and back: (bytes, number of the codec, bytes stored); None as codec number: stored as it is."""

    def run(codec, page: bytes, cuts=()):
        spans = _cut(memoryview(page), cuts)
        encoded = codec.encode(spans)
        if encoded is None:
            return page, None, len(page)
        out = bytearray(len(page))
        assert decode(encoded.codec, memoryview(encoded.payload), _cut(memoryview(out), cuts))
        return bytes(out), encoded.codec, len(encoded.payload)

    return run


def _cut(view, cuts):
    edges = [0, *sorted(c % (len(view) + 1) for c in cuts), len(view)]
    return [view[a:b] for a, b in pairwise(edges)]


@pytest.fixture
def kv():
    """A page that looks like a KV cache: normal numbers, each channel of its own size."""

    def make(fmt, seed=0):
        generator = torch.Generator().manual_seed(seed)
        size = torch.exp(torch.randn(fmt.shape[-1], generator=generator))
        return (torch.randn(fmt.shape, generator=generator) * size).to(fmt.dtype)

    return make


@pytest.fixture
def raw_of():
    """The bytes of a tensor."""

    def make(tensor) -> bytes:
        return np.asarray(tensor.contiguous().view(torch.uint8)).tobytes()

    return make
