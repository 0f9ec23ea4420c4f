"""The power may fail at any call of a repair: running it again gives what an undisturbed repair gives, and loses nothing."""

from __future__ import annotations

import random

import pytest

import lsmkv
from tests.power import cut_before

from .damaged import answers, copy, flip, image, judge, logs, read, store, tables

LOOKING = ("pread", "preadv", "size", "stat", "exists", "isdir", "listdir")


def damage(kind, fs):
    if kind in ("manifest", "all"):
        fs.unlink("/s/MANIFEST")
    if kind in ("table", "all"):
        flip(fs, max(tables(fs), key=fs.size), 40)
    if kind == "lost table":
        fs.unlink(max(tables(fs), key=fs.size))
    if kind == "log":
        log = max(logs(fs), key=fs.size)
        flip(fs, log, len(read(fs, log)) // 3)
    if kind == "swap":
        one, other = tables(fs)[:2]
        fs.rename(one, "/s/swap")
        fs.rename(other, one)
        fs.rename("/s/swap", other)
    fs.sync_dir("/s")


def repair_until(fs, stop_at):
    """Repair, with the power cut before call number ``stop_at`` of those that can change something; how many there were."""
    with cut_before(fs, stop_at, lambda op: op not in LOOKING) as cut:
        lsmkv.repair("/s", fs)
    return cut.calls


@pytest.mark.parametrize("kind", ["manifest", "table", "lost table", "log", "swap", "all"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_repair_cut_short_can_be_run_again(kind, seed):
    whole, history = store(seed)
    damage(kind, whole)
    originals = image(whole)
    undisturbed = copy(whole)
    total = repair_until(undisturbed, -1)
    assert total > 10
    expected = answers(undisturbed)
    rng = random.Random(seed)
    for stop_at in range(1, total + 1, 1 if seed == 2 else 3):
        for keep in (None, rng):
            fs = copy(whole)
            repair_until(fs, stop_at)
            fs = fs.crash(keep)
            report = lsmkv.repair("/s", fs)
            names = {**image(fs), **(image(fs, "/s/ASIDE") if fs.exists("/s/ASIDE") else {})}
            kept = set(names.values())
            assert all(data in kept for data in originals.values()), f"cut before call {stop_at}: an original is gone"
            got = answers(fs)
            assert got == expected, f"cut before call {stop_at}"
            judge(report, history, got, unseen=True)


def test_the_new_manifest_never_comes_before_the_names_it_needs():
    whole, _ = store(1)
    damage("table", whole)
    calls = []
    fs = copy(whole)
    fs.on_op = lambda op, path: None if op in LOOKING else calls.append((op, path))
    lsmkv.repair("/s", fs)
    fs.on_op = None
    expected = answers(fs)
    at = calls.index(("rename", "/s/MANIFEST.tmp")) + 2
    for seed in range(40):
        fs = copy(whole)
        repair_until(fs, at)
        fs = fs.crash(random.Random(seed))
        lsmkv.repair("/s", fs)
        assert answers(fs) == expected


def test_cut_again_and_again():
    fs, _ = store(3)
    damage("all", fs)
    expected_fs = copy(fs)
    lsmkv.repair("/s", expected_fs)
    expected = answers(expected_fs)
    rng = random.Random(5)
    for _ in range(25):
        repair_until(fs, rng.randrange(1, 200))
        fs = fs.crash(rng)
    lsmkv.repair("/s", fs)
    assert answers(fs) == expected
