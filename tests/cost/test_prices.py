"""Prices: a fit finds those that timings were made of; the file keeps them through faults, and a damaged one says what to do."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv import cost
from lsmkv.cost.fit import Fitted
from lsmkv.errors import CorruptionError, FormatTooNewError, InvalidArgumentError, IOFailedError
from lsmkv.testing import FailOp, FaultFileSystem, MemoryFileSystem

price = st.one_of(st.just(0.0), st.floats(1e-7, 1e-4))
prices = st.lists(price, min_size=10, max_size=10).filter(lambda p: p[0] > 0 and p[2] > 0 and p[4] > 0)


def timings(seconds: cost.Seconds) -> list[cost.Timing]:
    """Operations of all kinds, each taking exactly what it should."""
    made = []
    for runs in (1, 3, 9):
        for hit in (0.0, 0.5, 1.0):
            for found in (0.0, 1.0):
                for blocks in (0.1, 2.0):
                    took = seconds.lookup(blocks, runs, hit, found=bool(found))
                    made.append(
                        cost.Timing(
                            kind="lookup",
                            seconds=took,
                            found=found,
                            filter_checks=runs,
                            blocks=blocks,
                            block_reads=blocks * (1 - hit),
                        )
                    )
            for entries in (1.0, 40.0):
                blocks = runs + entries / 32
                took = seconds.scan(blocks, entries, runs, hit)
                made.append(
                    cost.Timing(
                        kind="scan",
                        seconds=took,
                        seeks=runs,
                        scan_entries=entries,
                        blocks=blocks,
                        block_reads=blocks * (1 - hit),
                    )
                )
        made.append(cost.Timing(kind="update", seconds=seconds.update(runs * 100.0), merge_bytes=runs * 100.0))
    return made


@given(prices)
def test_the_fit_finds_what_the_timings_were_made_of(given_prices) -> None:
    names = [field.name for field in fields(cost.Seconds)]
    seconds = cost.Seconds(**dict(zip(names, given_prices, strict=True)))
    fitted = cost.fit_seconds(timings(seconds))
    assert fitted.worst_error < 1e-6
    for name in names:
        assert getattr(fitted.seconds, name) == pytest.approx(getattr(seconds, name), rel=1e-4, abs=1e-9), name


def test_no_price_is_negative_however_timings_disagree() -> None:
    odd = [cost.Timing(kind="lookup", seconds=10e-6, blocks=0), cost.Timing(kind="lookup", seconds=5e-6, blocks=4)]
    fitted = cost.fit_seconds(odd)
    assert fitted.seconds.block_s == 0
    assert fitted.mean_error > 0.1


def test_what_is_no_timing_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="timings is empty"):
        cost.fit_seconds([])
    with pytest.raises(InvalidArgumentError, match=r"timings\[0\] must be a Timing"):
        cost.fit_seconds([5])
    with pytest.raises(InvalidArgumentError, match="kind must be one of"):
        cost.Timing(kind="get", seconds=1)
    with pytest.raises(InvalidArgumentError, match="seconds must be"):
        cost.Timing(kind="scan", seconds=0)
    with pytest.raises(InvalidArgumentError, match="blocks must be"):
        cost.Timing(kind="scan", seconds=1, blocks=-1)
    with pytest.raises(InvalidArgumentError, match="seek_s must be"):
        cost.Seconds(seek_s=-1)


FITTED = Fitted(cost.Seconds(lookup_s=1e-6, seek_s=9e-6), 0.05, 0.3)


def test_what_was_written_is_read_again() -> None:
    fs = MemoryFileSystem()
    path = cost.save_calibration(FITTED, "/home/cache/calibration.json", made_s=5.0, machine="a machine", fs=fs)
    assert cost.calibration(path, fs=fs) == FITTED.seconds
    newer = Fitted(cost.Seconds(lookup_s=2e-6), 0.0, 0.0)
    assert cost.calibration(cost.save_calibration(newer, path, made_s=6.0, fs=fs), fs=fs) == newer.seconds


def test_a_file_that_was_named_has_to_be_there() -> None:
    with pytest.raises(InvalidArgumentError, match="/none does not exist: `lsmkv calibrate --file /none` makes it"):
        cost.calibration("/none", fs=MemoryFileSystem())


def test_never_calibrated_is_no_error(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cost.calibration() is None
    path = cost.save_calibration(FITTED, made_s=1.0)
    assert path == str(tmp_path / "lsmkv" / "calibration.json") == cost.calibration_path()
    assert cost.calibration() == FITTED.seconds
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert cost.calibration_path() == "/home/me/.cache/lsmkv/calibration.json"


def put(fs: MemoryFileSystem, data: bytes) -> str:
    fs.mkdir("/c")
    file = fs.open("/c/prices", "create")
    file.pwritev([data], 0)
    file.close()
    return "/c/prices"


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", CorruptionError, "not JSON"),
        (b"\xff\xfe{", CorruptionError, "not JSON"),
        (b"[1]", CorruptionError, "no record of prices; `lsmkv calibrate` makes it anew"),
        (b'{"version": 1, "seconds": {"lookup_s": -1}}', CorruptionError, "lookup_s must be"),
        (b'{"version": 1, "seconds": {"lookup_s": "fast"}}', CorruptionError, "lookup_s must be"),
        (b'{"version": 2, "seconds": {}}', FormatTooNewError, "format version 2, this library knows up to 1"),
    ],
)
def test_a_damaged_file_says_what_to_do(data, error, words) -> None:
    fs = MemoryFileSystem()
    with pytest.raises(error, match=words):
        cost.calibration(put(fs, data), fs=fs)


def test_prices_of_a_later_minor_kind_are_passed_over() -> None:
    fs = MemoryFileSystem()
    told = {"version": 1, "seconds": asdict(FITTED.seconds) | {"gpu_s": 1.0}}
    assert cost.calibration(put(fs, json.dumps(told).encode()), fs=fs) == FITTED.seconds


@pytest.mark.parametrize("op", ["open", "pwritev", "sync", "rename", "sync_dir"])
def test_a_failed_write_leaves_the_old_prices(op) -> None:
    inner = MemoryFileSystem()
    path = cost.save_calibration(FITTED, "/cache/prices", made_s=1.0, fs=inner)
    newer = Fitted(cost.Seconds(lookup_s=2e-6), 0.0, 0.0)
    faulty = FaultFileSystem(inner, [FailOp(op=op, errno=errno.EIO)])
    with pytest.raises(IOFailedError):
        cost.save_calibration(newer, path, made_s=2.0, fs=faulty)
    if op != "sync_dir":  # then the new name is there, only not for sure
        assert cost.calibration(path, fs=inner) == FITTED.seconds
    cost.save_calibration(newer, path, made_s=3.0, fs=inner)
    assert cost.calibration(path, fs=inner) == newer.seconds
