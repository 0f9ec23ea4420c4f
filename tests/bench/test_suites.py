"""Both suites run end to end, tiny; what is missing is said; nothing is left behind."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench import __main__ as command
from bench.data import make_entries
from bench.docs import render
from bench.harness import Effort, Row
from bench.index import FULL as INDEX_FULL
from bench.index import run_core
from bench.keys.encodings import ENCODINGS
from bench.pages import FULL as PAGES_FULL
from bench.pages import Probe, run_pages
from bench.peers import INDEX_PEERS, PAGE_PEERS, UnavailableError
from bench.report import Result, load, print_result, save
from bench.scratch import scratch_dir
from bench.session import Request, Session, progress_bar

ONCE = Effort(1, least_rounds=1, warmups=0)


def run_tiny(suite, tmp_path, only=()):
    """One round of a suite over very little data."""
    with scratch_dir(str(tmp_path)) as scratch, progress_bar() as progress:
        session = Session(Request(quick=True, only=tuple(only), seed=1, scratch=scratch), random.Random(1), progress)
        if suite == "index":
            run_core(session, (replace(INDEX_FULL[0], entries=3_000, puts=ONCE, reads=ONCE, singles=50, keys=256),))
        else:
            scale = replace(PAGES_FULL[0][0], page_bytes=16 << 10, batches=2, puts=ONCE, reads=ONCE)
            run_pages(session, ((scale,), Probe(600, ONCE)))
    return session


@pytest.mark.parametrize("suite", ["index", "pages"])
def test_a_suite_measures_everyone_and_leaves_no_scratch(suite, tmp_path):
    session = run_tiny(suite, tmp_path)
    assert not list(tmp_path.iterdir())
    assert len(session.rows) >= 6
    for row in session.rows:
        assert "lsmkv" in row.samples, (row.name, row.missing)
        for name, found in row.samples.items():
            assert found, (row.name, name)
            assert all(figure > 0 for figure in found)
        assert not [why for name, why in row.missing.items() if name not in session.missing]


def test_a_missing_peer_is_said_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    def refuse(self, path, settings):
        msg = "plyvel is not installed (said the test)"
        raise UnavailableError(msg)

    plyvel = next(kind for kind in INDEX_PEERS if kind.name == "plyvel")
    monkeypatch.setattr(plyvel, "__init__", refuse)
    session = run_tiny("index", tmp_path, only=["put, one by one"])
    assert session.missing["plyvel"] == "plyvel is not installed (said the test)"
    assert [row.name for row in session.rows] == ["put, one by one, 28 B"]
    assert "plyvel" not in session.rows[0].samples
    assert session.rows[0].samples["sqlite"]
    machine = {"cores": 2, "system": "Linux", "file_system": "ext4", "memory_gib": 1}
    print_result(Result("index", True, 1, "2026-01-01", machine, {}, session.rows, session.missing), Console(width=120))
    assert "plyvel: plyvel is not installed (said the test)" in capsys.readouterr().out


def test_results_survive_json_and_become_tables(tmp_path):
    row = Row("get", "get", "us/key", "lower", {"lsmkv": [2.0, 3.0], "lmdb": [1.0, 5.0]}, {"plyvel": "absent"})
    machine = {"cores": 2, "system": "Linux 6", "file_system": "ext4", "memory_gib": 1, "processor": "any"}
    result = Result("index", False, 1, "2026-01-01", machine, {"python": "3"}, [row], {"plyvel": "absent"})
    save(result, tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["rows"][0]["medians"] == {"lsmkv": 2.5, "lmdb": 3.0}
    assert load(tmp_path / "result.json") == result
    page = render("a\n<!-- result: result.json -->\nold\n<!-- end of result -->\nb\n", tmp_path)
    assert "| get (us/key) | **lsmkv** | 2.5 | 2 - 3 |" in page
    assert "old" not in page
    assert "plyvel: absent" in page
    assert render(page, tmp_path) == page


def test_the_documented_tables_are_the_committed_results():
    page = (Path(command.__file__).parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert render(page) == page


def test_the_data_follows_from_the_seed():
    first, second = (make_entries(500, 28, seed=5) for _ in range(2))
    assert first.keys == second.keys == sorted(set(first.keys))
    assert first.values == second.values
    assert not set(first.absent) & set(first.keys)
    assert {len(key) for key in first.keys + first.absent} == {32}
    assert {key for batch in first.batches(64) for key, _ in batch} == set(first.keys)


def test_an_unknown_row_is_refused(tmp_path, capsys):
    assert command.main(["index", "--quick", "--only", "no such row", "--path", str(tmp_path)]) == 2
    assert "no row's name contains" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_subject_has_its_own_name():
    for kinds in (INDEX_PEERS, PAGE_PEERS):
        names = [kind.name for kind in kinds]
        assert len(set(names)) == len(names)
        assert names[0] == "lsmkv"


@pytest.mark.parametrize("suite", ["index", "pages"])
def test_an_interrupt_leaves_no_scratch(suite, tmp_path, monkeypatch, capsys):
    def interrupt(self, batch, *pages):
        assert list(tmp_path.glob("lsmkv-bench-*/*"))  # there is scratch to leave behind
        raise KeyboardInterrupt

    for kind in (*INDEX_PEERS, *PAGE_PEERS):
        if kind.name == "sqlite":
            monkeypatch.setattr(kind, "put_many" if kind in INDEX_PEERS else "put_batch", interrupt)
    assert command.main([suite, "--quick", "--only", "put_", "--path", str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (["keys"], 4),
        (["pages", "--group", "spans"], 4),
        (["pages", "--group", "open", "--only", "4k pages"], 3),
        (["pages", "--group", "scale"], 10),
    ],
)
def test_a_quick_run_of_every_other_part_measures_what_it_promises(arguments, rows, tmp_path, capsys):
    out = tmp_path / "result.json"
    assert command.main([*arguments, "--quick", "--path", str(tmp_path), "--json", str(out)]) == 0
    found = json.loads(out.read_text())["rows"]
    assert len(found) == rows
    assert all(row["medians"] and all(figure > 0 for figure in row["medians"].values()) for row in found)
    assert list(tmp_path.iterdir()) == [out]
    assert capsys.readouterr().out


def test_the_path_of_tokens_is_a_key_whose_length_grows_with_the_prompt():
    tokens = np.arange(64, dtype=np.uint32)
    keys = ENCODINGS["token path"](tokens, 16)
    assert [len(key) for key in keys] == [64, 128, 192, 256]
    assert all(after.startswith(before) for before, after in pairwise(keys))
    assert all(len(set(map(len, ENCODINGS[name](tokens, 16)))) == 1 for name in ("anchored", "flat"))
