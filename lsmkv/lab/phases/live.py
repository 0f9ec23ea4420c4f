"""A sequence again in the engine: real tables in memory, costs counted by the ledger, in the prices of the simulation.

What the simulation leaves out is here: filters with whole probes that are rebuilt only by merges, tables that a scan touches in
vain, windows that are no shorter than the controller's least. Keys are random; a memtable is flushed after :data:`FLUSH` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice

from lsmkv.controller import Adaptive, Prices
from lsmkv.controller.act import policy_at, window_of
from lsmkv.controller.prices import Mix
from lsmkv.db import DB
from lsmkv.db import open as open_store
from lsmkv.env.rng import Rng, seeded
from lsmkv.lab.phases.play import loaded, play
from lsmkv.lab.phases.rivals import LEVELING, SHAPES, shape_name, static_runs
from lsmkv.lab.phases.sequences import TICKS, Sequence, draw_sequence
from lsmkv.lab.phases.strategies import Controlled
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.options import Options
from lsmkv.policy.geometry import Geometry
from lsmkv.testing.memfs import MemoryFileSystem

__all__ = ["LiveOutcome", "live_sequence", "play_live", "small_sequence"]

FLUSH = 200
"""Writes into a memtable."""

VALUE = b"v" * 22
"""With keys of 10 bytes and what a block keeps beside them, 32 entries fill a block."""

BLOCK_BYTES = 1344


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """One sequence in the engine; ratios are counted costs over that of the best static shape in hindsight."""

    number: int
    entries: int
    overwrites: bool
    operations: int
    best: str
    best_simulated: str
    default: float
    default_simulated: float
    leveling: float
    """The ratio of leveling at 10."""
    leveling_simulated: float
    merges: int
    reshapes: int

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


def small_sequence(seed: str, number: int) -> Sequence:
    """Sequence ``number`` of a seed on a tree that the engine fills in a second."""
    return replace(draw_sequence(seed, number), arrivals=45 + 9 * number)


def live_sequence(sequence: Sequence) -> Iterator[LiveOutcome | None]:
    """Every static shape and the default in the engine: None after each of them, then the outcome. Some minutes."""
    prices = Prices()
    costs: dict[Geometry, float] = {}
    for one in SHAPES:
        costs[one] = play_live(sequence, one, prices)[0]
        yield None
    cost, merges, reshapes = play_live(sequence, LEVELING, prices, Adaptive(prices=prices))
    best = min(costs, key=lambda one: costs[one])
    paper = static_runs(sequence, prices)
    least = min(paper, key=lambda one: paper[one])
    simulated = play(sequence, loaded(LEVELING, sequence), prices, Controlled(Adaptive(prices=prices))).total
    yield LiveOutcome(
        number=sequence.number,
        entries=sequence.arrivals * FLUSH,
        overwrites=sequence.overwrites,
        operations=round(sequence.ticks * sequence.arrivals * FLUSH / TICKS),
        best=shape_name(best),
        best_simulated=shape_name(least),
        default=round(cost / costs[best], 4),
        default_simulated=round(simulated / paper[least], 4),
        leveling=round(costs[LEVELING] / costs[best], 4),
        leveling_simulated=round(paper[LEVELING] / paper[least], 4),
        merges=merges,
        reshapes=reshapes,
    )


def play_live(
    sequence: Sequence, geometry: Geometry, prices: Prices, controller: Adaptive | None = None
) -> tuple[float, int, int]:
    """What a sequence costs a store of this shape in blocks; merges and reshapes of its controller. I/O: in memory."""
    options = Options(
        policy=policy_at(geometry),
        fs=MemoryFileSystem(),
        scheduler=ManualScheduler(),
        rng=seeded(sequence.number),
        memtable_bytes=1 << 30,
        table_bytes=1 << 30,
        block_bytes=BLOCK_BYTES,
        level0_runs=1,
        event_log=False,
    )
    with open_store("/phases", options) as db:
        runner = _Runner(db, sequence)
        db.set_options(controller=controller)
        before = db.stats().ledger
        for mix in sequence.mixes():
            runner.tick(mix)
        told = db.stats()
        done = told.controller
        cost = window_of(told.ledger - before, prices).blocks
        return cost, done.merges if done else 0, done.reshapes if done else 0


class _Runner:
    """Does what a mix says."""

    def __init__(self, db: DB, sequence: Sequence) -> None:
        self._db, self._overwrites = db, sequence.overwrites
        self._rng: Rng = seeded(sequence.number + 1)
        self._keys: list[bytes] = []
        self._waiting = 0
        self._owed = Mix()
        for _ in range(sequence.arrivals * FLUSH):
            self._write(self._new_key())
        self._operations = sequence.arrivals * FLUSH / TICKS

    def tick(self, mix: Mix) -> None:
        """One tick of a mix; what is left of an operation is owed to the next."""
        owed = self._owed.plus(mix.scaled(self._operations))
        zero, found, scans, writes = (int(count) for count in owed)
        self._owed = Mix(owed.zero - zero, owed.found - found, owed.scans - scans, owed.writes - writes)
        for _ in range(zero):
            self._db.get(self._any_key() + b"-")
        for _ in range(found):
            self._db.get(self._any_key())
        for _ in range(scans):
            for _ in islice(self._db.scan(start=self._any_key()), 32):
                pass
        for _ in range(writes):
            self._write(self._any_key() if self._overwrites else self._new_key())
        self._db.settle()

    def _any_key(self) -> bytes:
        """One of those stored."""
        return self._keys[int(self._rng.random() * len(self._keys))]

    def _new_key(self) -> bytes:
        """One more."""
        key = self._rng.getrandbits(80).to_bytes(10, "big")
        self._keys.append(key)
        return key

    def _write(self, key: bytes) -> None:
        """Put it; a full memtable is flushed and what follows is done."""
        self._db.put(key, VALUE)
        self._waiting += 1
        if self._waiting >= FLUSH:
            self._waiting = 0
            self._db.flush()
            self._db.settle()
