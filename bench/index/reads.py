"""Rows that read: from a compacted store, and from one of several runs."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from functools import partial

from bench.harness import Effort
from bench.index.ops import Bind, calls, gets, scans
from bench.index.process import measure_memories, measure_reopen
from bench.index.scale import BATCH, RUNS, SCAN, Bench
from bench.index.stores import Opened, load
from bench.peers import Settings

__all__ = ["measure_reads", "measure_runs"]

_READS = (
    "get, present",
    "get, hot set",
    "get, missing",
    f"get_many({BATCH}), neighbours",
    f"get_many({BATCH}), random, 1 run",
    f"contains_many({BATCH}), half absent",
    f"scan of {SCAN}",
    "reopen and first get",
    "memory beyond the interpreter",
)


def measure_reads(bench: Bench) -> None:
    """Rows over stores that were loaded, flushed, compacted and opened again."""
    if not bench.wants(*_READS) or bench.session.late(f"core: reads, {bench.scale.value_bytes} B"):
        return
    with contextlib.ExitStack() as stack:
        peers = load(bench, stack, "one", Settings(), parts=1)
        _point_reads(bench, peers)
        _batch_reads(bench, peers)
        for peer in peers.values():
            peer.close()
        kept = [name for name, peer in peers.items() if peer.durable]
        measure_reopen(bench, kept)
        measure_memories(bench, kept)


def _rounds(effort: Effort) -> int:
    return effort.rounds + effort.warmups


def _point_reads(bench: Bench, peers: Opened) -> None:
    rng = random.Random(bench.session.request.seed)
    keys, count, rounds = bench.entries.keys, bench.scale.keys, _rounds(bench.scale.reads)
    hot = rng.sample(keys, 1_000)
    draws: dict[str, tuple[str, list[list[bytes]]]] = {
        "get, present": ("get", [rng.choices(keys, k=count) for _ in range(rounds)]),
        "get, hot set": ("get hot", [rng.choices(hot, k=count) for _ in range(rounds)]),
        "get, missing": ("get missing", [rng.choices(bench.entries.absent, k=count) for _ in range(rounds)]),
    }

    for what, (key, drawn) in draws.items():
        _row(bench, peers, what, key, "us/key", gets(drawn))


def _row(bench: Bench, peers: Opened, what: str, key: str, unit: str, bind: Bind) -> None:
    case = bench.case(what, key, unit, list(peers), lambda name: bind(peers[name]))
    bench.session.measure(case, bench.scale.reads)


def _batch_reads(bench: Bench, peers: Opened) -> None:
    rng = random.Random(bench.session.request.seed + 1)
    keys, absent, rounds = bench.entries.keys, bench.entries.absent, _rounds(bench.scale.reads)
    many = max(1, bench.scale.keys // BATCH)

    def near() -> list[bytes]:
        start = rng.randrange(len(keys) - BATCH)
        return keys[start : start + BATCH]

    def mixed() -> list[bytes]:
        return rng.sample(rng.choices(keys, k=BATCH // 2) + rng.choices(absent, k=BATCH // 2), BATCH)

    def draw(one: Callable[[], list[bytes]], batches: int) -> list[list[list[bytes]]]:
        return [[one() for _ in range(batches)] for _ in range(rounds)]

    row = partial(_row, bench, peers)
    get_many = partial(calls, lambda peer: peer.get_many)
    row(f"get_many({BATCH}), neighbours", "get_many near", "us/key", get_many(draw(near, many)))
    uniform = draw(lambda: rng.choices(keys, k=BATCH), many)
    row(f"get_many({BATCH}), random, 1 run", "get_many one run", "us/key", get_many(uniform))
    halves = calls(lambda peer: peer.contains_many, draw(mixed, many))
    row(f"contains_many({BATCH}), half absent", "contains_many", "us/key", halves)
    starts = [rng.choices(keys, k=4 * many) for _ in range(rounds)]
    row(f"scan of {SCAN}", "scan", "us/scan", scans(SCAN, starts))


def measure_runs(bench: Bench) -> None:
    """Random batches over several runs: what a store looks like between compactions."""
    what = f"get_many({BATCH}), random, {RUNS} runs"
    if not bench.wants(what) or bench.session.late(f"core: {bench.label(what)}"):
        return
    rng = random.Random(bench.session.request.seed + 2)
    many = max(1, bench.scale.keys // BATCH)
    drawn = [[rng.choices(bench.entries.keys, k=BATCH) for _ in range(many)] for _ in range(_rounds(bench.scale.reads))]
    buffer_bytes = 256 << 20  # a third must not be cut into several runs by a full write buffer
    with contextlib.ExitStack() as stack:
        peers = load(bench, stack, "runs", Settings(write_buffer_bytes=buffer_bytes, compact=False), parts=RUNS)
        _row(bench, peers, what, "get_many runs", "us/key", calls(lambda peer: peer.get_many, drawn))
