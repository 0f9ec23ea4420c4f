"""``lsmkv explain`` and ``lsmkv calibrate``: what people and programs are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lsmkv
from lsmkv import cost
from lsmkv.cost.fit import Fitted
from lsmkv.maintain.scheduler import ManualScheduler


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "store"
    options = lsmkv.Options(scheduler=ManualScheduler(), memtable_bytes=20_000, policy=lsmkv.Tiered(size_ratio=3), level0_runs=1)
    with lsmkv.open(str(path), options) as db:
        for i in range(3_000):
            db.put(b"%05d" % (i * 37 % 3_000 * 2), b"v" * 10)
            db.settle()
        for i in range(500):
            db.get(b"%05d" % (2 * i + 1))
            db.get(b"%05d" % (2 * i))
    return path


def test_people_see_both_columns_and_other_shapes(cli, home: Path, store: Path) -> None:
    told = cli("explain", store, "--level0-runs", 1)
    assert told.code == 0
    assert "predicted" in told.out
    assert "measured" in told.out
    assert "tiered T=3, now" in told.out
    assert "leveled T=10" in told.out
    assert "level 1:" in told.out
    assert "calibrate" in told.out
    assert "…" not in told.out
    assert "1 runs" not in told.out
    assert all(len(line) < 110 for line in told.out.splitlines()[1:])


def test_programs_get_one_document(cli, home: Path, store: Path) -> None:
    told = cli("explain", store, "--level0-runs", 1, "--policy", "lazy,size_ratio=5", "--json").json
    assert [one["name"] for one in told["what_if"]] == ["lazy T=5"]
    found = {one["name"]: one for one in told["compared"] if one["level"] is None}
    assert found["update_copies"]["error"] == pytest.approx(0, abs=0.15)
    assert told["now"]["unit"] == "blocks"


def test_prices_make_it_microseconds(cli, home: Path, store: Path) -> None:
    cost.save_calibration(Fitted(cost.Seconds(lookup_s=1e-6, update_s=1e-6), 0, 0), made_s=1.0)
    told = cli("explain", store)
    assert "microseconds an operation" in told.out
    assert "calibrate" not in told.out
    other = str(home / "prices.json")
    cost.save_calibration(Fitted(cost.Seconds(lookup_s=5e-6), 0, 0), other, made_s=1.0)
    assert cli("explain", store, "--prices", other, "--json").json["now"]["seconds"]["zero_lookup"] == 5e-6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--policy", "lazy,size_ratio=1"), "size_ratio=1: must be an integer from 2 to 64"),
        (("--prices", "/nowhere"), "/nowhere does not exist: `lsmkv calibrate --file /nowhere` makes it"),
        (("--live-entries", "1e9"), "live_entries is 1000000000.0, but tables and memtables hold 3000 entries"),
    ],
)
def test_bad_input_is_named(cli, home: Path, store: Path, options, words) -> None:
    told = cli("explain", store, *options)
    assert (told.code, told.out) == (2, "")
    assert words in told.err


def test_no_store_and_an_empty_one(cli, home: Path) -> None:
    assert "holds no lsmkv store" in cli("explain", home).err
    with lsmkv.open(str(home / "store")):
        pass
    told = cli("explain", home / "store")
    assert told.code == 0
    assert "0 entries" in told.out
    assert "nothing on record" in told.out


def test_calibrate_keeps_prices_where_explain_looks(cli, home: Path) -> None:
    told = cli("calibrate", "--entries", 1_000, "--on", home)
    assert told.code == 0, told.err
    assert str(home / "cache" / "lsmkv" / "calibration.json") in told.out
    assert "a filter asked" in told.out
    kept = json.loads((home / "cache" / "lsmkv" / "calibration.json").read_text())
    assert cost.calibration() == cost.Seconds(**kept["seconds"])
    assert sorted(path.name for path in home.iterdir()) == ["cache"]  # what was made meanwhile is gone


def test_calibrate_tells_programs_its_timings(cli, home: Path) -> None:
    memory = Path("/dev/shm")  # where it is quick
    on = ("--on", memory) if memory.is_dir() else ()
    told = cli("calibrate", "--entries", 1_000, "--file", home / "own.json", *on, "--json").json
    assert told["path"] == str(home / "own.json")
    assert {timing["kind"] for timing in told["timings"]} == {"lookup", "scan", "update"}
    assert told["seconds"]["update_s"] >= 0


def test_calibrate_needs_a_directory(cli, home: Path) -> None:
    told = cli("calibrate", "--on", home / "none")
    assert told.code == 2
    assert "is no directory: --on names one on the disk to time" in told.err


def test_after_a_switch_it_says_since_when_it_counts(cli, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "switched"
    with lsmkv.open(str(path), lsmkv.Options(scheduler=ManualScheduler(), policy=lsmkv.Tiered(size_ratio=3))) as db:
        for i in range(200):
            db.put(b"%05d" % i, b"v")
        db.flush()
        db.set_policy(lsmkv.Leveled(size_ratio=4))
        for i in range(50):
            db.get(b"%05d" % i)
    told = cli("explain", path)
    assert "asked since the policy was changed: 0.0% zero lookups, 100.0% lookups" in told.out
    assert cli("explain", path, "--json").json["measured"]["account"]["entries"] == 0
