"""Whatever happens to the files of a store, repair makes one that opens, and every answer is true or named as lost."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lsmkv

from .damaged import KEYS, answers, copy, counts_add_up, fill, flip, image, judge, options, originals, read, store, write

STORES = {}


def a_store(seed):
    if seed not in STORES:
        policy = [None, lsmkv.Tiered(size_ratio=3), lsmkv.LazyLeveling(size_ratio=4), lsmkv.Leveled(partial="round_robin")][
            seed % 4
        ]
        STORES[seed] = store(seed, clean=seed % 3 == 0, policy=policy, compression=["none", "zstd"][seed % 2])
    fs, history = STORES[seed]
    return copy(fs), history


def hurt(fs, rng):
    """One random damage; the kind of file that it may have taken something from without a trace."""
    names = [name for name in image(fs) if not name.startswith("EVENTS")]
    if not names:
        return ""
    name = rng.choice(names)
    path, data = f"/s/{name}", read(fs, f"/s/{name}")
    kind = rng.choice(["flip", "flip", "flip", "cut", "delete", "swap", "zero", "grow"])
    if kind == "flip" and data:
        flip(fs, path, rng.randrange(len(data)), 1 << rng.randrange(8))
    elif kind == "cut":
        write(fs, path, data[: rng.randrange(len(data) + 1)])
    elif kind == "delete":
        fs.unlink(path)
    elif kind == "swap":
        other = f"/s/{rng.choice(names)}"
        theirs = read(fs, other)
        write(fs, path, theirs)
        write(fs, other, data)
    elif kind == "zero" and data:
        at = rng.randrange(len(data))
        write(fs, path, data[:at] + bytes(len(data[at : at + 300])) + data[at + 300 :])
    elif kind == "grow":
        write(fs, path, data + rng.randbytes(rng.randrange(1, 100)))
    return name.rpartition(".")[2] if kind in ("delete", "swap", "cut") else ""


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 11), st.integers(1, 4), st.integers(0, 1 << 32))
def test_any_damage(seed, wounds, dice):
    fs, history = a_store(seed)
    rng = random.Random(dice)
    traceless = [hurt(fs, rng) for _ in range(wounds)]
    before = image(fs)
    try:
        report = lsmkv.repair("/s", fs)
    except lsmkv.InvalidArgumentError:
        assert not any(name.endswith((".sst", ".wal")) or name == "MANIFEST" for name in before)
        return
    counts_add_up(report)
    if report.healthy:
        assert image(fs) == before
    else:
        aside = originals(fs)
        assert {name: before[name] for name in report.moved} == aside
        assert {**image(fs), **aside}.keys() >= before.keys()
    again = lsmkv.repair("/s", fs)
    assert again.healthy
    got = answers(fs)
    without_manifest = bool(report.doubts) and any(traceless)  # nobody misses a file
    cut_logs = "wal" in traceless  # nothing proves how far a log went
    judge(report, history, got, unseen=without_manifest or cut_logs)


@pytest.mark.parametrize("seed", range(4))
def test_a_repaired_store_lives_on(seed):
    fs, history = a_store(seed)
    fs.unlink("/s/MANIFEST")
    lsmkv.repair("/s", fs)
    with lsmkv.open("/s", options(fs)) as db:
        fill(db, seed + 100, history=history)
        db.settle()
        db.check()
        assert db.get_many(KEYS) == [values[-1] for values in history.values()]
