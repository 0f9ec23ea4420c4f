"""Replays: block mode against the published figures, upstream tiers, the real store, the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lsmkv.cli.app import build
from lsmkv.env.rng import seeded
from lsmkv.testing import ManualClock
from lsmkv_tensor import StoreOptions
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.names import load_admission, load_eviction
from lsmkv_tensor.trace import Phase, Trace, generate, parse_trace, replay, replay_store, trace_lines
from lsmkv_tensor.trace.blocks import BlockCache
from lsmkv_tensor.trace.played import TraceClock
from lsmkv_tensor.trace.stored import by_size
from tests.retention.strategies import trace_of

MOONCAKE = Path(__file__).parents[2].parent / "shared" / "data" / "mooncake_conversation.jsonl"
CAPACITIES = (0.01, 0.02, 0.05, 0.10, 0.20)
MULTI_QUEUE = (0.106, 0.140, 0.221, 0.292, 0.345)
"""What the published Multi-Queue reaches there: the bar for our default."""


@pytest.fixture(scope="session")
def mooncake() -> Trace:
    if not MOONCAKE.exists():
        pytest.skip("the Mooncake conversation trace is not beside the repository (../shared/data)")
    return parse_trace(MOONCAKE.read_text().splitlines())


@pytest.fixture(scope="module")
def chats() -> Trace:
    return generate([Phase(requests=300, sharing=0.5, turns=4)], seeded(5))


def test_the_default_hits_at_least_what_multi_queue_hits_on_the_mooncake_trace(mooncake: Trace) -> None:
    rows = replay(mooncake, capacity=CAPACITIES)
    found = [round(row.hit_rate, 3) for row in rows]
    assert all(ours >= bar for ours, bar in zip(found, MULTI_QUEUE, strict=True)), found


def test_fifo_and_lru_reproduce_the_published_figures(mooncake: Trace) -> None:
    rows = replay(mooncake, capacity=(0.01, 0.10), eviction=("fifo", "lru"))
    assert [round(row.hit_rate, 3) for row in rows] == [0.051, 0.052, 0.248, 0.279]


def test_an_upstream_tier_takes_its_hits_first() -> None:
    trace = trace_of([[0, 1, 2], [0, 1, 2, 3], [5, 6, 7, 8], [0, 1, 2, 3]])
    (row,) = replay(trace, capacity=100, upstream_blocks=4)
    assert row.upstream_hits == 3
    assert row.hits == 4, "the last request's prefix was pushed out of the engine, not out of the store"
    assert row.asked == row.references - 3


def test_roots_that_the_engine_serves_are_kept_in_the_store_all_the_same() -> None:
    shared = [0, 1]
    requests = [[*shared, 10 + i] for i in range(30)]
    trace = trace_of([*requests, [90, 91, 92, 93, 94, 95, 96, 97], shared])
    (row,) = replay(trace, capacity=20, eviction="lru", upstream_blocks=6)
    assert row.hits == 2


def test_policies_and_capacities_give_tidy_rows(chats: Trace) -> None:
    rows = replay(chats, capacity=[0.1, 50], eviction=["fifo", "lru"], admission=["all", "second"])
    assert [(r.eviction, r.admission) for r in rows[:4]] == [
        ("fifo", "all"), ("fifo", "second"), ("lru", "all"), ("lru", "second"),
    ]  # fmt: skip
    assert rows[4].capacity == 50
    for row in rows:
        assert row.hits + row.written + row.declined <= row.references
        assert row.evicted == max(row.written - row.capacity, 0)


@pytest.mark.parametrize("capacity", [0, -1.0, True])
def test_a_capacity_that_is_none_is_refused(chats: Trace, capacity: float) -> None:
    with pytest.raises(InvalidArgumentError, match="capacity"):
        replay(chats, capacity=capacity)


def test_the_real_store_replays_pages_of_several_sizes(chats: Trace, tmp_path: Path) -> None:
    sizes = [8 << 10, 16 << 10, 32 << 10]
    row = replay_store(chats, str(tmp_path / "store"), capacity=0.2, page_bytes=sizes, options=StoreOptions(eviction="lru"))
    split, of_block = by_size(chats, sizes)
    capacity = int(0.2 * int(of_block.sum()))
    cache = BlockCache(
        capacity, split.unique_blocks, load_eviction("lru")(capacity), load_admission("all")(capacity, None), sizes=of_block
    )
    for request in split.requests:
        cache.serve(request)
    assert row.mode == "store"
    assert row.hits > 0.8 * cache.counts.hits
    assert row.written >= row.evicted > 0
    assert row.put_p99_ms >= row.put_p50_ms > 0
    assert not np.isnan(row.gc_write_amplification)


def test_the_real_store_admits_by_policy(chats: Trace, tmp_path: Path) -> None:
    everything, second = (
        replay_store(chats, str(tmp_path / name), capacity=0.5, page_bytes=4096, options=StoreOptions(admission=name))
        for name in ("all", "second")
    )
    assert (everything.admission, second.admission) == ("all", "second")
    assert everything.declined == 0
    assert second.declined > second.written > 0


def test_a_day_of_a_write_budget_is_a_day_of_the_trace(tmp_path: Path) -> None:
    trace = generate([Phase(requests=200, requests_per_s=200 / (10 * 3600))], seeded(3))
    hours = trace.requests[-1].at_s / 3600
    row = replay_store(trace, str(tmp_path / "store"), capacity=0.5, page_bytes=4096, dwpd=1)
    an_hour = row.capacity / 24
    assert row.declined > 0
    stored = row.written * 4096
    assert 3 * an_hour < stored < (hours + 2) * an_hour, "much more than a moment's budget, and no more than the time allows"


def test_the_time_of_a_trace_goes_on_and_never_back() -> None:
    real = ManualClock()
    played = TraceClock(real)
    start, wall = played.monotonic(), played.now()
    played.reach(100.0)
    assert (played.monotonic() - start, played.now() - wall) == (100.0, 100.0)
    real.advance(5.0)
    assert played.monotonic() - start == 105.0
    played.reach(101.0)
    assert played.monotonic() - start == 105.0


def invoke(*words: str) -> str:
    result = CliRunner().invoke(build(), ["trace", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_makes_and_replays_a_trace(tmp_path: Path) -> None:
    file = str(tmp_path / "made.jsonl")
    about = json.loads(invoke("generate", file, "--requests", "120", "--phases", "2", "--sharing", "0.1,0.9", "--json"))
    assert about["requests"] == 240
    table = str(tmp_path / "rows.csv")
    found = json.loads(
        invoke("replay", file, "--capacity", "5%,20%", "--compare", "fifo,lru,mq", "--upstream", "1%", "--csv", table, "--json")
    )
    assert len(found["rows"]) == 6
    with Path(table).open() as text:
        assert [float(r["hit_rate"]) for r in csv.DictReader(text)] == [r["hit_rate"] for r in found["rows"]]
    assert "hit rate" in invoke("replay", file, "--index-only", "--admission", "adaptive", "--dwpd", "3")
    words = ("replay", file, "--capacity", "20%", "--page-bytes", "4KiB", "--admission", "adaptive", "--dwpd", "2")
    said = invoke(*words, "--store", str(tmp_path / "kept"))
    assert "write amplification" in said
    assert "adaptive" in said
    assert (tmp_path / "kept" / "store" / "STORE").exists()


def test_a_policy_of_ones_own_is_found_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "made.jsonl"
    file.write_text("\n".join(trace_lines(generate([Phase(requests=60)], seeded(0)))))
    (tmp_path / "own_policy.py").write_text("from lsmkv_tensor.retention.evictions import Lru as Mine\n")
    monkeypatch.chdir(tmp_path)
    found = json.loads(invoke("replay", str(file), "--index-only", "--eviction", "own_policy:Mine", "--json"))
    (theirs,) = replay(parse_trace(file.read_text().splitlines()), eviction="lru")
    assert found["rows"][0]["hits"] == theirs.hits > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--capacity", "much"], "--capacity"),
        (["--eviction", "none", "--index-only"], "no eviction policy is called 'none'"),
        (["--dwpd", "1", "--write-bytes-per-day", "1GB", "--index-only"], "two words for one budget"),
        (["--dwpd", "-1"], "--dwpd -1.0: must be above 0"),
        (["--write-bytes-per-day", "0"], "--write-bytes-per-day '0': must be above 0"),
        (["--page-bytes", "0"], "--page-bytes '0': must be at least 28"),
        (["--admission", "none"], "no admission policy is called 'none'"),
        (["--capacity", "-5"], "--capacity '-5': must be above 0"),
        (["--upstream", "much"], "--upstream must be a size"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, words: list[str], said: str) -> None:
    file = tmp_path / "made.jsonl"
    file.write_text("\n".join(trace_lines(generate([Phase(requests=20)], seeded(0)))))
    result = CliRunner().invoke(build(), ["trace", "replay", str(file), *words])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"", "nothing to replay"),
        (b'{"timestamp": 1', "line 1 of the trace is no request"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_bytes(text)
    result = CliRunner().invoke(build(), ["trace", "replay", str(file)])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--phases", "0"], "--phases 0: must be at least 1"),
        (["--turns", "1,2,3", "--phases", "2"], "--turns '1,2,3': names more values than there are phases"),
    ],
)
def test_a_trace_that_cannot_be_made_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    result = CliRunner().invoke(build(), ["trace", "generate", str(tmp_path / "made.jsonl"), *words])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "made.jsonl").exists()
