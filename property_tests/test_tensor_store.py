"""Any history of puts, reads, drops, evictions, collections and reopenings against a dict of pages.

Tokens come from a tiny alphabet, so that prompts share prefixes; groups are cut to 3 pages for the test, so that a history of a
few steps crosses several. The dict knows the tokens of every page, so it can say exactly what a drop must forget.
"""

from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor import PageFormat, StoreOptions, TensorStore
from lsmkv_tensor.keys import anchored, chain, trails
from lsmkv_tensor.testing import MemoryNamespace

FORMAT = PageFormat(page_tokens=2, shape=(2, 4), dtype=torch.float8_e5m2)
prompts = st.lists(st.sampled_from([(1, 1), (1, 2), (2, 2)]), max_size=11).map(lambda pages: [t for page in pages for t in page])


def page_of(prefix):
    seed = hash(tuple(prefix)) & 0x7FFFFFFF
    raw = torch.randint(0, 256, (FORMAT.page_bytes,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return raw.view(FORMAT.dtype).view(FORMAT.shape)


def prefixes(prompt):
    return [tuple(prompt[: 2 * i + 2]) for i in range(len(prompt) // 2)]


class TensorStoreMachine(RuleBasedStateMachine):
    """The rules that hold for any namespace below; subclasses say which."""

    def __init__(self):
        super().__init__()
        self.groups = mock.patch.multiple(anchored, GROUP_PAGES=3), mock.patch.multiple(trails, GROUP_PAGES=3)
        for group in self.groups:
            group.start()
        self.stored = set()
        self.store = self.open()

    def open(self):
        raise NotImplementedError

    def namespace(self):
        return self.store._namespace

    def teardown(self):
        try:
            self.store.close()
        finally:
            for group in self.groups:
                group.stop()

    @rule(prompt=prompts, first=st.integers(0, 6), data=st.data())
    def put_batch(self, prompt, first, data):
        wanted = prefixes(prompt)[first:]
        wanted = wanted[: data.draw(st.integers(0, len(wanted)))]
        if len(prompt) // 2 < first:
            return
        new = self.store.put_batch(prompt, [page_of(prefix) for prefix in wanted], first)
        assert new == len(set(wanted) - self.stored)
        self.stored.update(wanted)

    @rule(prompt=prompts)
    def probe_and_get(self, prompt):
        wanted = prefixes(prompt)
        covered = next((i for i, prefix in enumerate(wanted) if prefix not in self.stored), len(wanted))
        assert self.store.probe(prompt) == 2 * covered
        got = self.store.get_batch(prompt)
        assert len(got) == covered
        for page, prefix in zip(got, wanted, strict=False):
            assert torch.equal(page.view(torch.uint8), page_of(prefix).view(torch.uint8))

    @rule(prompt=prompts, first=st.integers(0, 8), room=st.integers(0, 4))
    def get_into_the_callers_memory(self, prompt, first, room):
        out = torch.empty(room, *FORMAT.shape).to(FORMAT.dtype)
        got = self.store.get_batch(prompt, first, out=out)
        wanted = prefixes(prompt)[first:][:room]
        covered = next((i for i, prefix in enumerate(wanted) if prefix not in self.stored), len(wanted))
        assert len(got) == covered
        for page, prefix in zip(out, wanted[:covered], strict=False):
            assert torch.equal(page.view(torch.uint8), page_of(prefix).view(torch.uint8))

    @rule(prompt=prompts)
    def drop(self, prompt):
        whole = tuple(prompt[: len(prompt) // 2 * 2])
        below = {prefix for prefix in self.stored if whole and prefix[: len(whole)] == whole}
        assert self.store.drop(prompt) == len(below)
        self.stored -= below

    @rule()
    def gc(self):
        self.store.gc()

    @invariant()
    def every_page_lies_on_a_trail_and_every_group_is_reached(self):
        namespace = self.namespace()
        records = list(namespace.records())
        pages = set(namespace.keys())
        assert len(pages) == len(self.stored)
        assert pages <= {key for record in records for key in trails.group_keys(record)}
        reached = {trails.child_anchor(last) for last, path in records if len(path) == 3 * anchored.DIGEST_BYTES}
        assert {last[:12] for last, _ in records} <= reached | {namespace.digest[:12]}


class InMemory(TensorStoreMachine):
    """On a dict, where any page may be evicted at any time."""

    def open(self):
        pages = SimpleNamespace(gc=lambda: None, close=lambda: None)
        return TensorStore(pages, MemoryNamespace(FORMAT.page_bytes), FORMAT)

    @precondition(lambda self: self.stored)
    @rule(data=st.data())
    def evict(self, data):
        lost = data.draw(st.sets(st.sampled_from(sorted(self.stored)), min_size=1))
        keys = chain.KeyChain(self.namespace().digest, 2)
        ids = [keys.keys(torch.tensor(prefix).numpy().astype("<u4"))[-1] for prefix in lost]
        self.namespace().evict(ids)
        self.stored -= lost

    @rule()
    def gc_leaves_nothing_that_leads_nowhere(self):
        self.store.gc()
        if not self.stored:
            assert not self.namespace().notes

    @rule()
    def forget_what_is_only_remembered(self):
        """As reopening does: which groups lost pages is not written down."""
        self.store = TensorStore(self.store._pages, self.namespace(), FORMAT)


class OnDisk(TensorStoreMachine):
    """On the real page store, closed and opened again, or cut off after a sync."""

    @initialize()
    def nothing_yet(self):
        assert self.store.stats().pages == 0

    def open(self):
        self.fs = getattr(self, "fs", None) or MemoryFileSystem()
        options = StoreOptions(capacity_bytes=16 << 20, segment_bytes=64 << 10, fs=self.fs, scheduler=ManualScheduler())
        return TensorStore.open("/store", FORMAT, namespace="model", options=options)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = self.open()

    @rule()
    def power_cut_after_a_sync(self):
        self.store.sync()
        self.fs = self.fs.crash()
        self.store = self.open()


def run_settings(examples):
    return settings(max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


TestInMemory = pytest.mark.timeout(120)(InMemory.TestCase)
TestInMemory.settings = run_settings(150)
TestOnDisk = pytest.mark.timeout(120)(OnDisk.TestCase)
TestOnDisk.settings = run_settings(25)
