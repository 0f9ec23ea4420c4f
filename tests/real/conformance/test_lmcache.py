"""What docs/conformance.md asks of a backend, of ours in the real LMCache."""

from __future__ import annotations

from bench.stock.lmcache import LsmkvL2Subject, LsmkvPluginSubject
from lsmkv_tensor.testing.conformance import ConformanceSuite


class TestLsmkvL2(ConformanceSuite):
    subject = LsmkvL2Subject()


class TestLsmkvPlugin(ConformanceSuite):
    subject = LsmkvPluginSubject()
