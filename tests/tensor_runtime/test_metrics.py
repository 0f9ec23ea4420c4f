"""Metrics of page stores have fixed names, tell everything in the statistics, and keep no store alive."""

from __future__ import annotations

import gc
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import lsmkv
import lsmkv.metrics
from lsmkv.testing import FailOp, MemoryFileSystem
from lsmkv_tensor.catalogue import CATALOGUE, NO_METRIC
from lsmkv_tensor.errors import InvalidArgumentError, PoisonedError
from lsmkv_tensor.metrics import UP, Collector
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.pagestats import PageStoreStats
from lsmkv_tensor.runtime.waterfall import CAUSES
from tests.tensor_pages.conftest import World
from tests.tensor_runtime.conftest import SIZE, FaultyWorld

PAGE = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
NAMES = {m.name for m in (UP, *CATALOGUE)}


def scraped(*collectors):
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def at(samples, name, **labels):
    return samples[f"lsmkv_tensor_{name}", frozenset({"store": "a", **labels}.items())]


def used(world, **options):
    ns = world.open(**options).namespace({"m": 1, "page_tokens": 16}, SIZE)
    world.put(ns, range(5))
    ns.contains_prefix(world.keys(range(8)))
    ns.get_into(world.keys(range(6)), np.zeros((6, SIZE), np.uint8))
    return ns


def test_every_field_of_the_statistics_is_a_metric_or_has_its_reason():
    told = {field for metric in CATALOGUE for field in metric.fields}
    assert told | set(NO_METRIC) == {f.name for f in fields(PageStoreStats)}
    assert not told & set(NO_METRIC)


def test_names_follow_the_conventions_and_are_in_the_page():
    assert len(NAMES) == len(CATALOGUE) + 1
    for metric in CATALOGUE:
        assert re.fullmatch(r"lsmkv_tensor_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert set(metric.labels) <= {"call", "cause", "state"}
        assert metric.help.endswith(".")
    assert set(re.findall(r"^\| `(lsmkv_tensor_[a-z_]+)`", PAGE, re.MULTILINE)) == NAMES


def test_a_scrape_says_what_the_statistics_say(faulty):
    used(faulty)
    samples = scraped(Collector({"a": faulty.store}))
    stats = faulty.store.stats()
    assert at(samples, "up") == 1
    assert at(samples, "pages") == at(samples, "put_pages_total") == 5
    assert at(samples, "hits_total") == 5
    assert at(samples, "read_bytes_total") == 5 * SIZE
    assert at(samples, "capacity_bytes") == stats.capacity_bytes
    assert at(samples, "asked_tokens_total", call="ask") == 8 * 16
    assert at(samples, "hit_tokens_total", call="get") == 5 * 16
    for call in ("ask", "get"):
        lost = [at(samples, "lost_tokens_total", call=call, cause=cause) for cause in CAUSES]
        assert at(samples, "hit_tokens_total", call=call) + sum(lost) == at(samples, "asked_tokens_total", call=call)
    assert at(samples, "lost_tokens_total", call="ask", cause="never_offered") == 3 * 16
    assert at(samples, "state", state="ok") == 1
    assert at(samples, "call_seconds_count", call="write") == 1
    assert at(samples, "call_seconds_bucket", call="read", le="+Inf") == 1
    plain = {m.name for m in CATALOGUE if m.kind != "histogram" and m.fields != ("sharing",)} | {UP.name}
    assert plain <= {name for name, _ in samples}


def test_a_failing_disk_and_a_full_queue_show(faulty):
    ns = used(faulty, breaker_failures=1, put_queue_bytes=3 * SIZE)
    faulty.store.sync()
    faulty.put(ns, range(10, 15))
    faulty.fs.add(FailOp("pwritev", path="*.seg"))
    faulty.store.step()
    samples = scraped(Collector({"a": faulty.store}))
    assert at(samples, "queue_declined_pages_total") == 4
    assert at(samples, "state", state="failing") == 1
    assert at(samples, "state", state="ok") == 0
    assert at(samples, "breaker_trips_total") == 1


def test_a_closed_store_and_one_that_is_gone_are_down(faulty):
    used(faulty)
    gone = FaultyWorld()
    used(gone)
    collector = Collector({"a": faulty.store, "b": gone.store})
    gone.store.close()
    gone.store = None
    gc.collect()
    faulty.store.close()
    samples = scraped(collector)
    assert {value for (name, _), value in samples.items() if name == UP.name} == {0}
    assert len(samples) == 2
    collector.remove("b")
    collector.remove("b")
    assert len(scraped(collector)) == 1


def test_it_stands_beside_the_engines_collector(faulty):
    used(faulty)
    with lsmkv.open("/db", lsmkv.Options(fs=MemoryFileSystem())) as db:
        samples = scraped(Collector({"a": faulty.store}), lsmkv.metrics.Collector({"db": db}))
    assert {"lsmkv_up", "lsmkv_tensor_up"} <= {name for name, _ in samples}


@pytest.mark.parametrize(("name", "store"), [("", None), (1, None), ("a", None), ("a", object())])
def test_what_is_no_store_is_refused(name, store):
    with pytest.raises(InvalidArgumentError, match="Collector"):
        Collector({name: store})


def test_siblings_are_told_where_there_are_any(tmp_path):
    options = StoreOptions(capacity_bytes=64 << 20)
    with PageStore.open(tmp_path, options=options, member="b") as b:
        World.put(b.namespace({"m": 1}, SIZE), range(3))
    with PageStore.open(tmp_path, options=options, member="a") as a:
        assert World.check(a.namespace({"m": 1}, SIZE), range(4)) == {0, 1, 2}
        samples = scraped(Collector({"a": a}))
    assert at(samples, "sibling_hits_total") == 3
    assert at(samples, "sibling_stores") == 1
    assert at(samples, "sibling_misses_total") == 1


def test_a_store_that_cannot_be_reopened_is_down_until_it_is(faulty):
    used(faulty, breaker_failures=3)
    faulty.fs.add(FailOp("sync", path="*.seg", times=1))
    with pytest.raises(PoisonedError):
        faulty.store.sync()
    faulty.fs.add(FailOp("lock"))
    faulty.store.step()
    collector = Collector({"a": faulty.store})
    assert at(scraped(collector), "up") == 0
    faulty.fs.clear()
    faulty.clock.advance(100)
    faulty.store.step()
    assert at(scraped(collector), "up") == 1
