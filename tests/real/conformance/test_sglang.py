"""What docs/conformance.md asks of a backend, of ours in the real SGLang."""

from __future__ import annotations

from bench.stock.sglang import LsmkvHiCacheSubject
from lsmkv_tensor.testing.conformance import ConformanceSuite


class TestLsmkvHiCache(ConformanceSuite):
    subject = LsmkvHiCacheSubject()
