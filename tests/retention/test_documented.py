"""docs/retention.md and docs/format/retention.md: what they show works."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lsmkv_tensor.retention.admission import AdmitAll
from lsmkv_tensor.retention.evictions import Lru
from lsmkv_tensor.retention.protocol import Eviction
from lsmkv_tensor.trace.blocks import BlockCache
from tests.retention.strategies import request_lists, trace_of

DOCS = Path(__file__).parents[2] / "docs"

RETURNED = [
    *([i] for i in range(9)), [9, 10, 11, 12], [13], [14], [15], [9, 10], *([i] for i in range(16, 27)), list(range(27, 35)),
    [9, 10], [9, 10, 11, 12, *range(35, 43)], *([i] for i in range(43, 60)),
]  # fmt: skip
"""Requests of which one made S3-FIFO, asked twice, answer in another order."""


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "eviction" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def hits(requests: list[list[int]], capacity: int, policy: Eviction) -> list[int]:
    trace = trace_of(requests)
    cache = BlockCache(capacity, trace.unique_blocks, policy, AdmitAll(capacity))
    return [cache.serve(request) for request in trace.requests]


def test_the_page_shows_the_file_and_it_is_20_lines_long() -> None:
    code = (DOCS / "eviction" / "dict_lru.py").read_text().split('"""\n\n', 1)[1]
    assert code in (DOCS / "retention.md").read_text()
    assert len([line for line in code[code.index("class") :].splitlines() if line.strip()]) <= 20


@settings(deadline=None)
@given(request_lists(), st.integers(1, 40))
def test_the_dict_lru_hits_exactly_what_the_built_in_hits(requests: list[list[int]], capacity: int) -> None:
    own = module("dict_lru").DictLru(capacity)
    assert hits(requests, capacity, own) == hits(requests, capacity, Lru(capacity))


@pytest.mark.parametrize(("name", "policy"), [("arc", "Arc"), ("s3_fifo", "S3Fifo")])
@settings(deadline=None)
@given(requests=request_lists(), capacity=st.integers(1, 40))
@example(requests=RETURNED, capacity=10)
def test_the_examples_keep_to_the_protocol(name: str, policy: str, requests: list[list[int]], capacity: int) -> None:
    class Checked(getattr(module(name), policy)):  # type: ignore[misc] - a class found at run time
        def victims(self, nbytes: int) -> np.ndarray:
            found = super().victims(nbytes)
            assert len(set(found.tolist())) == len(found) == min(nbytes, len(self.prints))
            assert super().victims(nbytes).tolist() == found.tolist(), "asking changes nothing that can be seen"
            return found

    hits(requests, capacity, Checked(capacity))


def test_arc_and_s3_fifo_keep_what_returns_through_a_scan() -> None:
    hot = [[i] for i in range(8)]
    requests = hot * 3 + [[100 + i] for i in range(200)] + hot
    for name, policy in (("arc", "Arc"), ("s3_fifo", "S3Fifo")):
        assert sum(hits(requests, 20, getattr(module(name), policy)(20))[-8:]) == 8, name
    assert sum(hits(requests, 20, Lru(20))[-8:]) == 0


def test_the_format_page_shows_the_bytes() -> None:
    page = (DOCS / "format" / "retention.md").read_text()
    example = page[page.index("Example") :]
    shown = bytes.fromhex("".join(re.findall(r"^    ([0-9a-f ]+)$", example, re.MULTILINE)).replace(" ", ""))
    policy = Lru(1)
    policy.on_insert(np.array([0]), np.array([1]), np.array([1], dtype=np.uint64))
    assert policy.save() == shown
    Lru(1).load(shown)
