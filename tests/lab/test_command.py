"""``lsmkv simulate``: what it prints, writes and refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lsmkv
from lsmkv.lab.numbers import count_of, size_of, value_of
from tests.cli.conftest import Outcome, run

SMALL = ("--entries", "20k", "--memtable", "5e2")


def simulate(*arguments: object) -> Outcome:
    return run("simulate", *arguments)


def test_it_prints_a_line_for_each_task_and_the_tree_at_the_end() -> None:
    told = simulate(*SMALL, "--policy", "lazy", "--size-ratio", "4")
    assert told.code == 0
    tasks = lsmkv.simulate(lsmkv.LazyLeveling(4), lsmkv.Writes(entries=20_000, memtable=500))
    expected = [row for row in tasks.rows if row.kind == "compaction"]
    lines = [line for line in told.out.splitlines() if re.match(r" *[\d,]+  (merge|move)", line)]
    assert len(lines) == len(expected)
    assert all(row.reason in line for row, line in zip(expected, lines, strict=True))
    assert "level 2" in told.out
    assert f"{tasks.last.update_copies:.3f}" in told.out
    assert max(map(len, lines)) < 200


def test_all_steps_include_flushes_and_quiet_prints_the_end_only() -> None:
    assert simulate(*SMALL, "--all").out.count("  flush ") == 40
    quiet = simulate(*SMALL, "--quiet").out
    assert "why" not in quiet
    assert "write amplification" in quiet
    assert simulate(*SMALL, "--trees").out.count("after ") > 20


def test_how_many_keys_fifo_leaves_alive_is_not_claimed() -> None:
    """Keys in tables that were dropped counted as live, and space as a tenth of them."""
    told = simulate(*SMALL, "-q", "--policy", "fifo", "--capacity", "1MB").out
    assert re.search(r"space amplification +- .*\(unknown live\)", told)
    rows = lsmkv.simulate(lsmkv.FIFO(10**6), lsmkv.Writes(entries=20_000, memtable=500)).rows
    first = next(i for i, row in enumerate(rows) if row.task == "drop")
    assert all(row.live_entries == row.entries for row in rows[:first])
    assert {row.live_entries for row in rows[first:]} == {row.space_amplification for row in rows[first:]} == {None}


def test_a_long_simulation_prints_about_a_hundred_lines() -> None:
    out = simulate("--entries", "1e5", "--memtable", "100").out
    assert "is shown" in out
    assert 60 < len(re.findall(r"(?m)^ *[\d,]+  (?:merge|move)", out)) < 130


def test_json_is_the_rows_and_nothing_else() -> None:
    told = simulate(*SMALL, "--json", "--policy", "fluid", "--size-ratio", "7", "--K", "3,2", "--Z", "2", "--overwrites", "0.2")
    document = told.json
    assert document["policy"] == {"name": "fluid", "size_ratio": 7, "K": [3, 2], "Z": 2}
    assert document["summary"]["complete"] is True
    assert document["rows"][-1]["writes"] == document["workload"]["entries"] == 20_000
    assert document["rows"][-1]["levels"][-1][0]["entries"] > 0


def test_it_writes_a_page(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    told = simulate(*SMALL, "--quiet", "--html", file, "--switch-at", "1e4:tiered,size_ratio=6:lazy")
    assert told.code == 0
    assert str(file.stat().st_size // 1000) in told.out.replace(",", "")
    assert "lazy switch to tiered" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entries", "many"], "--entries"),
        (["--entries", "1.5"], "whole"),
        (["--entries", "1e12"], "entries"),
        (["--memtable", "-5"], "--memtable"),
        (["--entries", "1e6", "--memtable", "1"], "larger memtable"),
        (["--policy", "greedy"], "no policy is called 'greedy'"),
        (["--policy", "nowhere:Nothing"], "nowhere"),
        (["--policy", "json:JSONDecoder"], "no policy"),
        (["--policy", "lazy,size_ratio"], "parameter=value"),
        (["--policy", "lazy", "--K", "3"], "takes size_ratio; it was given K"),
        (["--policy", "fifo"], r"capacity_bytes \(needed\)"),
        (["--policy", "fluid,K=20"], "K=20"),
        (["--size-ratio", "65"], "2 to 64"),
        (["--partial", "best"], "partial"),
        (["--policy", "tiered", "--partial", "oldest"], "partial"),
        (["--overwrites", "1.5"], "overwrites"),
        (["--overwrites", "0.6", "--deletes", "0.6"], "together"),
        (["--switch-at", "5e3"], "--switch-at"),
        (["--switch-at", "x:tiered"], "--switch-at"),
        (["--html", "/no/such/folder/x.html"], "no directory"),
        (["--events", "/no/such/store"], "does not exist"),
        (["--level0-runs", "0"], "level0_runs"),
        (["--table-bytes", "big"], "--table-bytes"),
        (["--entries", "2e4", "--switch-at", "1e9:tiered"], "1,000,000,000 writes never happens: there are only 20,000"),
        (["--policy", "leveled,size_ratio=4", "--size-ratio", "6"], "size_ratio is given twice"),
        (["--policy", "tiered,size_ratio=4,size_ratio=6"], "size_ratio is given twice"),
        (["--events", "/no/such/store", "--policy", "lazy"], "--policy would do nothing there"),
        (["--events", "/no/such/store", "--switch-at", "1:lazy"], "--switch-at would do nothing there"),
        (["--quiet", "--all"], "--quiet and --all contradict"),
        (["--quiet", "--trees"], "--quiet and --trees contradict"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nonsense_is_one_clear_line(arguments: list[str], message: str) -> None:
    told = simulate(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert re.search(message, told.err), told.err
    assert told.err.count("\n") == 1


OWN = """
from lsmkv.policy import Leveled

class Interrupted(Leveled):
    asked = 0

    def pick(self, shape):
        Interrupted.asked += 1
        if Interrupted.asked == 30:
            raise KeyboardInterrupt
        return super().pick(shape)
"""


def test_ctrl_c_leaves_a_marked_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_interrupted.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    told = simulate(*SMALL, "--policy", "own_interrupted:Interrupted,size_ratio=4", "--html", "part.html")
    assert told.code == 130
    assert "interrupted after" in told.out
    assert "interrupted after" in (tmp_path / "part.html").read_text()


def test_the_event_log_of_a_store_is_told_and_played(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with lsmkv.open(str(path), lsmkv.Options(policy=lsmkv.Tiered(3), memtable_bytes=32 << 10)) as db:
        for start in range(0, 3_000, 300):
            db.put_many((b"key-%05d" % (i * 7919 % 3_000), b"v" * 20) for i in range(start, start + 300))
    told = simulate("--events", path, "--html", tmp_path / "store.html")
    assert told.code == 0
    assert "level 0" in told.out
    assert "the store is opened with tiered" in (tmp_path / "store.html").read_text()
    assert simulate("--events", path, "--json").json["rows"][-1]["entries"] == 3_000


def test_counts_and_sizes_are_read_as_people_write_them() -> None:
    assert [count_of("n", text) for text in ("1e7", "100k", "2.5M", "10_000", "1,000")] == [10**7, 10**5, 2_500_000, 10**4, 10**3]
    assert [size_of("n", text) for text in ("64MiB", "1e8", "2GB", "4k")] == [64 << 20, 10**8, 2 * 10**9, 4_000]
    assert [value_of(text) for text in ("3", "3/2/1", "0.5", "none", "oldest", "64MiB")] == [
        3, (3, 2, 1), 0.5, None, "oldest", 64 << 20,
    ]  # fmt: skip
