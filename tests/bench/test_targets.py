"""Targets are judged as the design words them."""

import pytest

from bench.harness import Row
from bench.targets import TARGETS, judge


def row(key, better="lower", **samples):
    return Row("row", key, "us", better, {name.replace("_", " "): [value] for name, value in samples.items()})


def by_wish(verdicts):
    return {(v.level, v.wanted): v.met for v in verdicts}


def test_each_named_peer_must_be_reached():
    found = by_wish(judge(row("put_many", lsmkv=2.0, rocksdict=2.0, plyvel=1.9, lmdb=1.4)))
    assert found[("must", ">= 1x rocksdict")] is True
    assert found[("must", ">= 1x plyvel")] is False
    assert found[("must", ">= 0.7x lmdb")] is True
    assert found[("aim", ">= 1.7x the best peer (lmdb)")] is False


def test_the_best_peer_is_never_ourselves_nor_a_bare_file():
    samples = {"lsmkv": [900.0], "bare preads": [1000.0], "hicachefile": [300.0], "lmdb": [800.0], "rocksdict-blob": [100.0]}
    found = by_wish(judge(Row("row", "get_batch cold", "MB/s", "higher", samples)))
    assert found[("must", ">= 0.9x bare preads")] is True
    assert found[("aim", ">= 1x the best peer (lmdb)")] is True


@pytest.mark.parametrize(("figure", "met"), [(19.9, True), (20.0, True), (20.1, False)])
def test_a_limit_is_absolute(figure, met):
    found = judge(row("reopen", lsmkv=figure))
    assert [v.met for v in found if v.level == "must"] == [met]


def test_what_was_not_measured_is_open_not_missed():
    assert {v.met for v in judge(row("put_many", lsmkv=1.0))} == {None}
    assert {v.met for v in judge(row("put_many", rocksdict=1.0))} == {None}
    assert {v.met for v in judge(row("reopen", rocksdict=1.0))} == {None}


def test_a_row_without_targets_is_for_information():
    assert judge(row("no such key", lsmkv=1.0)) == []


@pytest.mark.parametrize("key", sorted(TARGETS))
def test_every_row_with_targets_has_a_must_or_a_limit(key):
    clauses = TARGETS[key]
    assert any(clause.level == "must" for clause in clauses)
    assert all((clause.limit is None) == bool(clause.against) for clause in clauses)
