"""Calibration on a machine whose speed is known: its clock says what each operation should have taken."""

from __future__ import annotations

import pytest

from lsmkv import cost
from lsmkv.env.rng import seeded
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.calibrate import FILL_STEPS, SCANS, STORES, Calibrator
from lsmkv.testing import MemoryFileSystem


class Ticking:
    """A clock on which a millisecond passes whenever somebody looks."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        self.at += 1e-3
        return self.at

    def now(self) -> float:
        return 1_700_000_000.0 + self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture(scope="module")
def timings() -> list[cost.Timing]:
    made = Calibrator("/scratch", entries=3_000, operations=60, rounds=2, fs=MemoryFileSystem(), clock=Ticking(), rng=seeded(1))
    return list(made.timings())


def test_every_store_is_filled_and_asked(timings) -> None:
    assert len(timings) == len(STORES) * (FILL_STEPS + 2 + len(SCANS))
    kinds = [timing.kind for timing in timings]
    assert kinds[: FILL_STEPS + 5] == ["update"] * FILL_STEPS + ["lookup"] * 2 + ["scan"] * len(SCANS)


def test_the_timings_differ_in_what_the_prices_are_for(timings) -> None:
    lookups = [t for t in timings if t.kind == "lookup"]
    scans = [t for t in timings if t.kind == "scan"]
    updates = [t for t in timings if t.kind == "update"]
    assert {t.found for t in lookups} == {0.0, 1.0}
    assert any(t.filter_checks == 0 for t in lookups)
    assert max(t.filter_checks for t in lookups) >= 4
    assert max(t.blocks for t in lookups) >= 4
    assert any(t.block_reads == 0 < t.blocks for t in lookups)
    assert any(t.block_reads == t.blocks > 0 for t in lookups)
    assert {t.scan_entries for t in scans} == set(map(float, SCANS))
    assert max(t.seeks for t in scans) >= 2 * min(t.seeks for t in scans)
    assert max(t.merge_bytes for t in updates) > 2 * min(t.merge_bytes for t in updates)


def test_all_prices_can_be_told_apart(timings) -> None:
    """Timings replaced by what known prices would give: the fit finds those prices, so none hides behind another."""
    seconds = cost.Seconds(
        lookup_s=1e-6,
        found_s=2e-6,
        scan_s=1e-5,
        seek_s=9e-6,
        update_s=8e-6,
        filter_check_s=5e-7,
        block_s=1e-6,
        block_read_s=7e-7,
        scan_entry_s=3e-7,
        merge_byte_s=6e-9,
    )
    told = [
        cost.Timing(
            kind=t.kind,
            seconds=sum(getattr(seconds, name) * times for name, times in t.paid.items()),
            found=t.found,
            seeks=t.seeks,
            filter_checks=t.filter_checks,
            blocks=t.blocks,
            block_reads=t.block_reads,
            scan_entries=t.scan_entries,
            merge_bytes=t.merge_bytes,
        )
        for t in timings
    ]
    fitted = cost.fit_seconds(told).seconds
    for name in seconds.__slots__:
        assert getattr(fitted, name) == pytest.approx(getattr(seconds, name), rel=1e-3), name


def test_meaningless_numbers_are_refused() -> None:
    for name in ("entries", "operations", "rounds"):
        with pytest.raises(InvalidArgumentError, match=name):
            Calibrator("/scratch", **{name: 0})
