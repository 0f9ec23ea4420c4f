"""Groups that walk out along one dimension: the same rows for every shape of a list.

For each shape the stores are filled (which is the row about puts), then read by turns, then closed and opened again. Where so
many stores would overflow the page cache, each is measured by itself: those rows do not alternate.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bench.data import Entries, make_entries
from bench.harness import Case, Effort, Row, still_heap
from bench.index.draws import Access, Drawer
from bench.index.fill import Filled, fill, settings_of
from bench.index.ops import Bind, calls, gets, scans
from bench.index.process import reopened
from bench.index.scale import BATCH, SCAN
from bench.index.shape import Shape, refusal, together
from bench.memory import KEY_BYTES, measure_memory, write_keys
from bench.peers import INDEX_PEERS, IndexPeer
from bench.session import Session

__all__ = ["Extra", "How", "Lines", "Read", "filled_stores", "run_lines"]

How: TypeAlias = Literal["get", "get_many", "scan", "missing", "chain"]

Extra: TypeAlias = Literal["put", "space", "reopen", "memory"]

_READS = Effort(5, least_rounds=3, budget_s=5)

_FILLS = Effort(3)

_SMALL_ENTRIES = 100_000
"""Up to here a store is filled several times: a larger fill is long enough by itself."""

_MEMORY_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Read:
    """One way to read, and which entries."""

    how: How
    access: Access = "uniform"

    @property
    def what(self) -> str:
        """The row's name."""
        access = "" if self.access == "uniform" else f" {self.access}"
        return {
            "get": f"get{access}",
            "missing": "get, missing",
            "get_many": f"get_many({BATCH}){access}",
            "scan": f"scan of {SCAN}{access}",
            "chain": f"get_many({BATCH}), prefixes of conversations",
        }[self.how]

    @property
    def unit(self) -> str:
        """What the figure counts."""
        return "us/scan" if self.how == "scan" else "us/key"

    def bind(self, drawer: Drawer, keys: int, rounds: int) -> Bind:
        """Rounds of ``keys`` keys each."""
        batches = max(1, keys // BATCH)
        if self.how == "get":
            return gets([drawer.keys(self.access, keys) for _ in range(rounds)])
        if self.how == "missing":
            return gets([drawer.absent(keys) for _ in range(rounds)])
        if self.how == "scan":
            return scans(SCAN, [drawer.keys(self.access, 4 * batches) for _ in range(rounds)])
        if self.how == "chain":
            drawn = [[part for _ in range(batches // 2 + 1) for part in _cut(drawer.chain())] for _ in range(rounds)]
        else:
            drawn = [[drawer.keys(self.access, BATCH) for _ in range(batches)] for _ in range(rounds)]
        return calls(lambda peer: peer.get_many, drawn)


def _cut(pages: list[bytes]) -> Iterator[list[bytes]]:
    """A request, in the batches in which a server asks."""
    for start in range(0, len(pages), BATCH):
        yield pages[start : start + BATCH]


@dataclass(frozen=True, slots=True)
class Lines:
    """Shapes, and the rows of each."""

    shapes: tuple[Shape, ...]
    reads: tuple[Read, ...]
    extras: tuple[Extra, ...] = ("put",)
    kinds: tuple[type[IndexPeer], ...] = INDEX_PEERS
    compact: bool = True
    """Whether everything is merged into one run before it is read."""
    keys: int = 10_240
    """Keys that a round of reads asks for."""


def filled_stores(
    session: Session,
    group: str,
    shape: Shape,
    kinds: tuple[type[IndexPeer], ...],
    use: Callable[[Filled, Entries, Path], None],
    *,
    compact: bool = True,
) -> None:
    """Fill stores of the shape and ``use`` them: all at once, or one by one. A shape that does not fit is noted as skipped."""
    what = f"{group}: {shape}"
    if session.late(what):
        return
    why = refusal(shape, session.request.scratch)
    if why is not None:
        session.skipped[what] = why
        return
    done = session.busy(f"{shape}: making entries")
    entries = make_entries(shape.entries, shape.value_bytes, session.request.seed, shape.width)
    done()
    root = session.request.scratch / f"{group}-{shape.entries}-{shape.value_bytes}"
    by_name = {kind.name: kind for kind in session.request.chosen(kinds)}
    rounds = session.effort(_FILLS).rounds if shape.entries <= _SMALL_ENTRIES and not session.request.quick else 1
    for names in together(shape, list(by_name), session.request.scratch):
        with still_heap():
            filled = fill(session, shape, entries, [by_name[name] for name in names], root, rounds=rounds, compact=compact)
            try:
                use(filled, entries, root)
            finally:
                filled.close()
                shutil.rmtree(root, ignore_errors=True)


def run_lines(session: Session, group: str, lines: Lines) -> None:
    """Every row of every shape."""
    for shape in dict.fromkeys(full.scaled(session.request.scale) for full in lines.shapes):
        if _wanted(session, shape, lines):
            filled_stores(session, group, shape, lines.kinds, _Rows(session, group, shape, lines).measure, compact=lines.compact)


_EXTRA_NAMES: dict[Extra, tuple[str, ...]] = {
    "put": (f"put_many({BATCH})",),
    "space": ("space: files over live data",),
    "reopen": ("reopen and first get",),
    "memory": ("memory, anonymous", "memory, mapped files"),
}


def _wanted(session: Session, shape: Shape, lines: Lines) -> bool:
    whats = [read.what for read in lines.reads] + [name for extra in lines.extras for name in _EXTRA_NAMES[extra]]
    return session.request.wants(*(f"{what}, {shape}" for what in whats))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one shape."""

    session: Session
    group: str
    shape: Shape
    lines: Lines

    def measure(self, filled: Filled, entries: Entries, root: Path) -> None:
        """From the fill, by reading, and by opening again."""
        extras = self.lines.extras
        if "put" in extras:
            self._add("put", "us/key", filled.put_us, filled, notes=filled.notes)
        if "space" in extras:
            live = self.shape.data_bytes
            space = {name: [size / live] for name, size in filled.disk.items() if size}
            self._add("space", "x", space, filled)
        self._reads(filled, entries)
        filled.close()
        kept = [name for name, peer in filled.peers.items() if peer.durable]
        if "reopen" in extras:
            wanted = entries.keys[len(entries.keys) // 2]
            kinds = {kind.name: kind for kind in self.lines.kinds}
            settings = settings_of(self.shape)
            work = {name: reopened(kinds[name], root / name, settings, wanted) for name in kept}
            self.session.measure(self._case(_EXTRA_NAMES["reopen"][0], "ms", work, filled), _READS)
        if "memory" in extras and self.shape.width.low == self.shape.width.high == KEY_BYTES:
            self._memory(filled, entries, root)

    def _reads(self, filled: Filled, entries: Entries) -> None:
        drawer = Drawer(entries, self.session.request.seed)
        keys = max(BATCH, int(self.lines.keys * min(1.0, self.session.request.scale)))
        for read in self.lines.reads:
            if self.session.request.wants(f"{read.what}, {self.shape}"):
                bind = read.bind(drawer, keys, _READS.rounds + _READS.warmups)
                work = {name: bind(peer) for name, peer in filled.peers.items()}
                self.session.measure(self._case(read.what, read.unit, work, filled), _READS)

    def _memory(self, filled: Filled, entries: Entries, root: Path) -> None:
        names = [f"{what}, {self.shape}" for what in _EXTRA_NAMES["memory"]]
        if not self.session.request.wants(*names):
            return
        keys_file = root / "keys.bin"
        drawn = write_keys(keys_file, entries.keys, Drawer(entries, self.session.request.seed).keys("uniform", _MEMORY_DRAWS))
        anonymous, mapped, missing = {}, {}, dict(filled.missing)
        for name in filled.peers:
            done = self.session.busy(f"{self.shape}: memory of {name}")
            try:
                found = measure_memory(
                    name, root / name, keys_file, drawn, cache_bytes=self.shape.cache_bytes, value_bytes=self.shape.value_bytes
                )
                anonymous[name], mapped[name] = [found.anonymous_mib], [found.file_mib]
            except RuntimeError as error:
                missing[name] = f"failed: {error}"
            finally:
                done()
        for name, samples in zip(names, (anonymous, mapped), strict=True):
            self.session.add(Row(name, f"{self.group} memory", "MiB", "lower", samples, missing, self.group))

    def _case(self, what: str, unit: str, work: dict[str, Callable[[], float]], filled: Filled) -> Case:
        missing = self.session.missing | filled.missing
        return Case(f"{what}, {self.shape}", f"{self.group}: {what}", unit, "lower", work, missing, self.group)

    def _add(
        self, extra: Extra, unit: str, samples: dict[str, list[float]], filled: Filled, notes: dict[str, str] | None = None
    ) -> None:
        what = _EXTRA_NAMES[extra][0]
        missing = self.session.missing | filled.missing
        row = Row(f"{what}, {self.shape}", f"{self.group}: {what}", unit, "lower", dict(samples), missing, self.group)
        row.notes.update(notes or {})
        self.session.add(row)
