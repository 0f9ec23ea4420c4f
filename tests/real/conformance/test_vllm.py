"""What docs/conformance.md asks of a backend, of ours in the real vLLM."""

from __future__ import annotations

from bench.stock.vllm import LsmkvTierSubject
from lsmkv_tensor.testing.conformance import ConformanceSuite


class TestLsmkvTier(ConformanceSuite):
    subject = LsmkvTierSubject()
