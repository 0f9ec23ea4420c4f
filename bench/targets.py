"""The performance targets of the design, as data, and their judgement. Ratios are speed ratios (:mod:`bench.harness`).

"Must" is what the project asks of itself, "aim" where it wants to be. A clause that compares with a subject which was not
measured is *open*, neither met nor missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from bench.harness import Row

__all__ = ["OURS", "PEERS", "TARGETS", "Clause", "Verdict", "judge"]

OURS = "lsmkv"
"""The subject the targets are about."""

PEERS = (
    "rocksdict",
    "rocksdict-blob",
    "plyvel",
    "lmdb",
    "sqlite",
    "hicachefile",
    "hicachefile-fanout",
    "safetensors",
    "safetensors-rocksdb",
    "diskcache",
)
"""Whole stores, in contrast to bare files: who "the best peer" may be."""

Level: TypeAlias = Literal["must", "aim"]


@dataclass(frozen=True, slots=True)
class Clause:
    """One demand on a row: either ``speed`` against each of ``against`` (or the best of them), or an absolute ``limit``."""

    level: Level
    against: tuple[str, ...] = ()
    speed: float = 0.0
    """Our speed over theirs, at least."""
    best: bool = False
    """Compare only with the fastest of ``against``."""
    limit: float | None = None
    """Figure in the row's unit that ours must not pass."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A clause, judged."""

    level: Level
    wanted: str
    """The demand in words."""
    found: str
    """What was measured, in the same words."""
    met: bool | None
    """None: what it compares with was not measured."""


def _over(level: Level, speed: float, *against: str) -> Clause:
    return Clause(level, against, speed)


def _best(level: Level, speed: float, against: tuple[str, ...] = PEERS) -> Clause:
    return Clause(level, against, speed, best=True)


def _limit(level: Level, limit: float) -> Clause:
    return Clause(level, limit=limit)


_LSM = ("rocksdict", "plyvel")

_AHEAD = ("put", "put beside", "cold get", "cold get small", "cold get beside", "lookup", "lookup beside")
"""Rows of adapters in which ours is to be ahead of the engine's own backend."""

TARGETS: dict[str, tuple[Clause, ...]] = {
    "put_many": (_over("must", 1.0, *_LSM), _over("must", 0.7, "lmdb"), _best("aim", 1.7)),
    "get": (_over("must", 1.0, *_LSM), _over("aim", 1 / 1.5, "lmdb")),
    "get hot": (_limit("must", 3.0),),
    "get_many near": (_best("must", 2.0), _best("aim", 4.0)),
    "get_many runs": (_over("must", 1 / 1.2, "lmdb"), _best("aim", 1.0)),
    "scan": (_over("must", 1 / 2.5, "lmdb"), _over("aim", 1.0, "lmdb")),
    "reopen": (_limit("must", 20.0), _limit("aim", 5.0)),
    "memory": (_limit("must", 96.0), _limit("aim", 48.0)),
    "probe anchored": (_limit("must", 50.0), _over("must", 20.0, "hicachefile-scan"), _over("aim", 1.0, "lmdb")),
    "probe flat": (_limit("must", 1000.0), _over("must", 20.0, "hicachefile-scan"), _over("aim", 1.0, "lmdb")),
    "put_batch": (
        _over("must", 0.85, "bare log"),
        _over("must", 3.0, "hicachefile", "rocksdict-blob"),
        _over("aim", 1.15, "safetensors"),
    ),
    "get_batch cold": (
        _over("must", 0.9, "bare preads"),
        _over("must", 1.5, "hicachefile"),
        _over("must", 2.3, "rocksdict-blob"),
        _best("aim", 1.0),
    ),
    "get_batch cold small": (
        _over("must", 0.9, "bare preads"),
        _over("must", 3.0, "hicachefile"),
        _over("must", 2.3, "rocksdict-blob"),
        _best("aim", 1.0),
    ),
    "get_batch warm": (_over("must", 1.0, "hicachefile"), _over("must", 0.65, "lmdb"), _over("aim", 0.9, "lmdb")),
    "tick p99": (_limit("must", 5.0),),
    "tick max": (_limit("must", 20.0),),
    "page tick p99": (_limit("must", 5.0),),
    "page tick max": (_limit("must", 20.0),),
    "p99 busy over idle": (_limit("must", 2.0), _limit("aim", 1.3)),
    "p99 size": (_limit("must", 3.0), _limit("aim", 2.0)),
    "p99 pages": (_limit("must", 1.3), _limit("aim", 1.1)),
    "memory a page": (_limit("must", 150.0),),
    "restart": (_limit("must", 500.0),),
    "restart killed": (_limit("must", 3000.0),),
    "sglang put + sync": (_over("must", 0.85, "bare log"), _over("must", 3.0, "HiCacheFile")),
    "sglang cold get": (_over("must", 0.9, "bare log"), _over("must", 1.5, "HiCacheFile")),
    "sglang cold get small": (_over("must", 0.9, "bare log"), _over("must", 3.0, "HiCacheFile")),
    "sglang warm get": (_over("must", 1.0, "HiCacheFile"),),
    **{f"vllm {what}": (_over("must", 1.0, "vLLM fs tier"),) for what in _AHEAD},
    **{f"lmcache {what}": (_over("must", 1.0, "LMCache fs"),) for what in _AHEAD},
    **{f"lmcache in process {what}": (_over("must", 1.0, "LMCache local disk"),) for what in _AHEAD},
    "delete": (_over("must", 20.0, "hicachefile"), _over("aim", 100.0, "hicachefile")),
}
"""Clauses by row key; a row without a key here is shown for information."""


def judge(row: Row, ours: str = OURS) -> list[Verdict]:
    """Every clause about ``row``, judged."""
    verdicts: list[Verdict] = []
    for clause in TARGETS.get(row.key, ()):
        if clause.limit is not None:
            verdicts.append(_judge_limit(row, clause, clause.limit, ours))
        elif clause.best:
            peer = row.best(tuple(name for name in clause.against if name != ours))
            verdicts.append(_judge_speed(row, clause, peer, ours))
        else:
            verdicts.extend(_judge_speed(row, clause, peer, ours) for peer in clause.against)
    return verdicts


def _judge_limit(row: Row, clause: Clause, limit: float, ours: str) -> Verdict:
    sign = "<=" if row.better == "lower" else ">="
    wanted = f"{sign} {limit:g} {row.unit}"
    if not row.samples.get(ours):
        return Verdict(clause.level, wanted, "not measured", None)
    figure = row.figure(ours)
    met = figure <= limit if row.better == "lower" else figure >= limit
    return Verdict(clause.level, wanted, f"{figure:.3g} {row.unit}", met)


def _judge_speed(row: Row, clause: Clause, peer: str | None, ours: str) -> Verdict:
    name = f"the best peer ({peer})" if clause.best else str(peer)
    wanted = f">= {clause.speed:.3g}x {name if peer else 'the best peer'}"
    speed = row.speed(ours, peer) if peer else None
    if speed is None:
        return Verdict(clause.level, wanted, "not measured", None)
    return Verdict(clause.level, wanted, f"{speed:.2f}x", speed >= clause.speed)
