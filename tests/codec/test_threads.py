"""Several threads encode and decode at once: no codec's working memory is shared while it is in use."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lsmkv_tensor.codec import decode, lossless_codec, tensor_codec


def test_threads_do_not_disturb_each_other(formats, kv, raw_of):
    fmt = formats((4, 16, 2, 256), "bfloat16")
    codecs = [lossless_codec("shuffle_zstd"), tensor_codec("int8", fmt), tensor_codec("fp8", fmt)]
    pages = [raw_of(kv(fmt, seed)) for seed in range(8)]
    alone = {(at, i): codec.encode([memoryview(page)]) for at, codec in enumerate(codecs) for i, page in enumerate(pages)}

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        out = bytearray(fmt.page_bytes)
        again = bytearray(fmt.page_bytes)
        for at, i in rng.integers(0, (len(codecs), len(pages)), (150, 2)):
            encoded = codecs[at].encode([memoryview(pages[i])])
            assert encoded == alone[at, i]
            assert decode(encoded.codec, memoryview(encoded.payload), [memoryview(out)])
            assert decode(encoded.codec, memoryview(encoded.payload), [memoryview(again)])
            assert out == again
            assert at or out == pages[i]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
