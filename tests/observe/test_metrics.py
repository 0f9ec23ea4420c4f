"""Metrics have fixed names, conventional units and few labels, and tell everything in the statistics."""

from __future__ import annotations

import gc
import importlib.util
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.metrics import UP, Collector
from lsmkv.observe.metrics import CATALOGUE, NO_METRIC
from lsmkv.testing import MemoryFileSystem

ROOT = Path(__file__).parents[2]
LABELS = {"level", "cause", "policy", "reason", "work"}
CAUSES = {"get", "scan", "flush", "compaction", "load", "open", "wal", "manifest"}


def a_store(path: str = "/db", **more: object) -> lsmkv.DB:
    settings = {"memtable_bytes": 8192, "table_bytes": 8192, "level0_runs": 2} | more
    return lsmkv.open(path, lsmkv.Options(fs=MemoryFileSystem(), scheduler=ManualScheduler(), **settings))


def use(db: lsmkv.DB) -> None:
    for i in range(1500):
        db.put(b"%05d" % (i * 37 % 1500 * 2), bytes(20))
    db.settle()
    db.get_many([b"%05d" % i for i in range(0, 3000, 7)])
    sum(1 for _ in db.scan())


def scraped(collector: Collector) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def at(samples: dict, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def total(samples: dict, name: str, **labels: str) -> float:
    return sum(value for (n, found), value in samples.items() if n == name and labels.items() <= dict(found).items())


def test_every_field_of_the_statistics_is_a_metric_or_has_its_reason() -> None:
    told = {field for metric in CATALOGUE for field in metric.fields}
    assert told | set(NO_METRIC) == {f.name for f in fields(lsmkv.Stats)}
    assert not told & set(NO_METRIC)


@pytest.mark.parametrize("metric", [UP, *CATALOGUE], ids=lambda m: m.name)
def test_names_follow_the_conventions(metric) -> None:
    assert re.fullmatch(r"lsmkv(_[a-z0-9]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert set(metric.labels) <= LABELS
    assert metric.help.endswith(".")


def test_names_are_unique() -> None:
    names = [metric.name for metric in (UP, *CATALOGUE)]
    assert len(set(names)) == len(names)


def test_a_scrape_says_what_the_statistics_say() -> None:
    with a_store() as db:
        use(db)
        samples, stats = scraped(Collector(db)), db.stats()
        assert at(samples, "lsmkv_up", store="/db") == 1
        for cause, size in stats.ledger.bytes_written.items():
            assert total(samples, "lsmkv_written_bytes_total", cause=cause) == size
        for cause, size in stats.ledger.bytes_read.items():
            assert total(samples, "lsmkv_read_bytes_total", cause=cause) == size
        assert total(samples, "lsmkv_level_entries") == stats.entries
        assert total(samples, "lsmkv_level_bytes") == stats.bytes
        assert total(samples, "lsmkv_cache_hits_total") == stats.cache_hits
        assert total(samples, "lsmkv_cache_misses_total") == stats.block_reads
        assert total(samples, "lsmkv_compactions_total") == stats.compactions > 0
        assert at(samples, "lsmkv_committed_entries_total", store="/db") == 1500
        for level in stats.levels:
            assert at(samples, "lsmkv_level_runs", store="/db", level=str(level.level)) == level.runs
        assert at(samples, "lsmkv_policy_info", store="/db", policy="leveled") == 1


def test_counters_never_fall_while_a_store_is_open() -> None:
    with a_store() as db:
        collector = Collector(db)
        before = scraped(collector)
        use(db)
        db.set_policy(lsmkv.Tiered(size_ratio=3))
        db.settle()
        after = scraped(collector)
        counters = {metric.name for metric in CATALOGUE if metric.kind == "counter"}
        assert all(after[key] >= value for key, value in before.items() if key[0] in counters)


def test_labels_have_few_values_whatever_the_store_goes_through() -> None:
    with a_store(level0_stop_runs=3) as db:
        use(db)
        values: dict[str, set[str]] = {}
        for _, labels in scraped(Collector(db)):
            for name, value in labels:
                values.setdefault(name, set()).add(value)
        assert values["cause"] <= CAUSES
        assert values["level"] <= {"", *map(str, range(len(db.stats().ledger.levels)))}
        assert values["reason"] >= {"memtables", "level0"}
        assert set(values) <= LABELS | {"store"}


def test_a_debt_is_told_while_it_is_paid() -> None:
    with a_store() as db:
        use(db)
        assert ("lsmkv_transition_active", frozenset({("store", "/db")})) not in scraped(Collector(db))
        report = db.set_policy(lsmkv.Leveled(size_ratio=2))
        now = scraped(Collector(db))
        assert at(now, "lsmkv_transition_remaining_bytes", store="/db") == report.remaining.bytes
        assert at(now, "lsmkv_transition_active", store="/db") == (not report.done)
        db.settle()
        assert at(scraped(Collector(db)), "lsmkv_transition_active", store="/db") == 0


def test_a_closed_store_is_down_and_nothing_more() -> None:
    db = a_store()
    collector = Collector({"pages": db})
    db.close()
    assert scraped(collector) == {("lsmkv_up", frozenset({("store", "pages")})): 0.0}


def test_the_collector_keeps_no_store_alive() -> None:
    db = a_store()
    collector = Collector({"pages": db})
    db.close()
    del db
    gc.collect()
    assert at(scraped(collector), "lsmkv_up", store="pages") == 0


def test_several_stores_share_one_collector() -> None:
    with a_store("/a") as a, a_store("/b") as b:
        collector = Collector({"a": a})
        collector.add("b", b)
        b.put(b"k", b"v")
        samples = scraped(collector)
        assert at(samples, "lsmkv_committed_entries_total", store="a") == 0
        assert at(samples, "lsmkv_committed_entries_total", store="b") == 1
        collector.remove("a")
        assert ("lsmkv_up", frozenset({("store", "a")})) not in scraped(collector)


def test_a_registry_takes_the_names_once() -> None:
    registry = CollectorRegistry()
    with a_store() as db:
        registry.register(Collector(db))
        with pytest.raises(ValueError, match="Duplicated"):
            registry.register(Collector(db))


def test_the_engine_does_without_the_package_and_metrics_say_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None; import lsmkv, lsmkv.metrics\n"
        "try: lsmkv.metrics.Collector({})\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "metrics need prometheus-client: pip install 'lsmkv[metrics]'\n"


def test_importing_the_engine_does_not_import_the_package() -> None:
    code = "import sys, lsmkv, lsmkv.metrics; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_the_page_is_in_step_with_the_code() -> None:
    spec = importlib.util.spec_from_file_location("metrics_page", ROOT / "docs/metrics_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs/metrics.md").read_text()
    assert page == module.redraw(page), "run `make docs`"
    assert len(re.findall(r"\n\| `lsmkv_(?!tensor_)", page)) == len(CATALOGUE) + 1
    assert set(re.findall(r"`(\w+)`", page.partition("`cause` (")[2].partition(")")[0])) == CAUSES


def test_the_example_serves_a_scrape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs/metrics.md").read_text(), re.DOTALL).group(1)
    example = example.replace("REGISTRY.register", "registry.register").replace("(9464)", "(0, '127.0.0.1', registry)")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"registry": CollectorRegistry()}
    exec(compile(example, "docs/metrics.md", "exec"), names)
    with urlopen(f"http://127.0.0.1:{names['server'].server_port}/metrics") as answer:
        assert b'lsmkv_up{store="pages"} 1.0' in answer.read()
    names["server"].shutdown()
    names["server"].server_close()
    names["thread"].join()
    names["db"].close()


class Slotted:
    """A store to which no weak reference can be made."""

    __slots__ = ()
    path = "/slotted"

    def stats(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("stores", "told"),
    [
        (None, "takes an open store, .* not NoneType"),
        ("/db", "takes an open store, .* not str"),
        (["/db"], "not list"),
        ({"": None}, "must be a string that is not empty"),
        ({1: None}, "not 1"),
        ({"a": None}, r"'a' is no open store: NoneType has no stats\(\)"),
        ({"a": "/db"}, "str has no stats"),
        (Slotted(), "'/slotted' cannot be watched"),
    ],
)
def test_what_is_no_store_is_refused_by_name(stores, told) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match=told):
        Collector(stores)


def test_a_follower_is_refused(tmp_path: Path) -> None:
    with lsmkv.open(tmp_path), lsmkv.open(tmp_path, read_only=True) as follower:
        for stores in (follower, {"f": follower}):
            with pytest.raises(lsmkv.InvalidArgumentError, match="is a follower"):
                Collector(stores)


def test_adding_refuses_the_same_and_keeps_what_it_had() -> None:
    with a_store() as db:
        collector = Collector({"one": db})
        for name, store in [("", db), (7, db), ("two", None), ("two", "/db"), ("one", Slotted())]:
            with pytest.raises(lsmkv.InvalidArgumentError):
                collector.add(name, store)
        assert at(scraped(collector), "lsmkv_up", store="one") == 1
