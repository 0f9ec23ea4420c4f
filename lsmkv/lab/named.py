"""Workloads that come along: YCSB's core workloads A to F with their published mixes, and five mixes to choose a tree for.

YCSB (Cooper et al., SoCC 2010): keys by a zipfian distribution with exponent 0.99; D reads the latest; E scans 1 to 100 pairs.
"""

from __future__ import annotations

from lsmkv.lab.workload import Access, Mix, Phase, Workload

__all__ = ["MIXES", "NAMED", "YCSB"]

LOAD = 200_000
OPERATIONS = 50_000


def _ycsb(letter: str, about: str, mix: Mix, keys: Access = "zipfian", scan_entries: tuple[int, int] = (32, 32)) -> Workload:
    """One of the six."""
    phase = Phase(name=letter, operations=OPERATIONS, mix=mix, keys=keys, scan_entries=scan_entries)
    return Workload(name=f"ycsb-{letter.lower()}", about=about, load=LOAD, value_bytes=100, phases=(phase,))


YCSB = {
    "A": _ycsb("A", "50 % read, 50 % update", Mix(present=0.5, overwrite=0.5)),
    "B": _ycsb("B", "95 % read, 5 % update", Mix(present=0.95, overwrite=0.05)),
    "C": _ycsb("C", "read only", Mix(present=1.0)),
    "D": _ycsb("D", "95 % read of the latest, 5 % insert", Mix(present=0.95, put=0.05), keys="latest"),
    "E": _ycsb("E", "95 % scan, 5 % insert", Mix(scan=0.95, put=0.05), scan_entries=(1, 100)),
    "F": _ycsb("F", "50 % read, 50 % read-modify-write", Mix(present=0.5, modify=0.5)),
}
"""By their letters."""


def _mix(name: str, about: str, mix: Mix) -> Workload:
    """One phase of uniform keys."""
    phase = Phase(operations=OPERATIONS, mix=mix)
    return Workload(name=name, about=about, load=LOAD, phases=(phase,))


MIXES = {
    workload.name: workload
    for workload in (
        _mix("balanced", "as many of each", Mix(absent=0.25, present=0.25, scan=0.25, overwrite=0.25)),
        _mix("probes", "mostly keys that are not there", Mix(absent=0.8, present=0.1, scan=0.01, overwrite=0.09)),
        _mix("reads", "mostly keys that are there", Mix(absent=0.1, present=0.7, scan=0.1, overwrite=0.1)),
        _mix("scans", "mostly short scans", Mix(absent=0.05, present=0.1, scan=0.7, overwrite=0.15)),
        _mix("writes", "mostly overwrites", Mix(absent=0.05, present=0.05, scan=0.01, overwrite=0.89)),
    )
}
"""Five mixes for which a tree is chosen in ``lsmkv lab validate``."""

CHAT = Workload(
    name="chat",
    about="conversations: chains of pages are asked for from their beginning, then continued",
    load=LOAD,
    value_bytes=64,
    chain_keys=64,
    phases=(
        Phase(name="ingest", operations=20_000, mix=Mix(put=0.9, absent=0.1), keys="chains"),
        Phase(name="serve", operations=5_000, mix=Mix(batch=0.5, absent=0.2, put=0.3), keys="chains", batch_keys=64),
    ),
)

NAMED = {workload.name: workload for workload in (*YCSB.values(), *MIXES.values(), CHAT)}
"""All that come along, by name."""
