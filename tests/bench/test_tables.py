"""Tables of groups: subjects side by side, the ratio beside the figure, the worst where the worst is meant."""

from bench.docs import render
from bench.harness import Row
from bench.pivot import columns, pivot
from bench.report import Result, load, markdown, save
from bench.targets import judge

MACHINE = {"cores": 2, "system": "Linux 6", "file_system": "ext4", "memory_gib": 1, "processor": "any"}


def result_of(*rows, skipped=None):
    return Result("index", False, 1, "2026-01-01", MACHINE, {"python": "3"}, list(rows), {}, 1.0, skipped or {})


def test_ours_comes_first_then_the_peers_in_their_order():
    row = Row("get", "k", "us", "lower", {"sqlite": [4.0], "rocksdict": [3.0], "lsmkv": [2.0], "nothing": [1.0], "lmdb": []})
    subjects = columns([row], "lsmkv")
    assert subjects == ["lsmkv", "nothing", "rocksdict", "sqlite"]
    other = Row("scan", "k", "us", "lower", {"lsmkv": [2.0]})
    assert pivot([row, other], subjects, "lsmkv") == [
        ["get (us)", "2", "1 (0.5x)", "3 (1.5x)", "4 (2x)"],
        ["scan (us)", "2", "-", "-", "-"],
    ]


def test_a_row_of_maxima_is_judged_by_its_worst():
    row = Row("tick", "tick max", "ms", "lower", {"lsmkv": [1.0, 1.0, 30.0]}, summary="worst")
    assert row.figure("lsmkv") == 30.0
    assert [verdict.met for verdict in judge(row)] == [False]
    row.summary = "median"
    assert [verdict.met for verdict in judge(row)] == [True]


def test_groups_have_tables_of_their_own_and_say_what_was_skipped(tmp_path):
    core = Row("get", "get", "us", "lower", {"lsmkv": [2.0]})
    late = Row("tick", "tick p99", "ms", "lower", {"lsmkv": [2.0]}, group="latency: ticks", notes={"lsmkv": "3 flushes"})
    result = result_of(core, late, skipped={"sizes: 10M x 28 B": "needs more"})
    save(result, tmp_path / "result.json")
    assert load(tmp_path / "result.json") == result
    text = markdown(result)
    assert "| get (us) | **lsmkv** | 2 | 2 - 2 |  |" in text
    assert "| tick (ms) | 2 |" in text
    assert "| tick | must | <= 5 ms | 2 ms | met |" in text
    assert "lsmkv in 'tick': 3 flushes" in text
    assert "skipped, sizes: 10M x 28 B: needs more" in text
    assert "no rival" not in text


def test_a_ceiling_is_called_one():
    row = Row("get", "get", "us", "lower", {"lsmkv": [2.0], "sortedcontainers": [0.2]})
    assert "sortedcontainers: in this process's memory only, nothing survives it; a ceiling, no rival" in markdown(result_of(row))


def test_a_group_without_results_is_said_to_be_unmeasured(tmp_path):
    page = render("<!-- result: none.json -->\nold\n<!-- end of result -->\n", tmp_path)
    assert "Not measured yet." in page
    assert render(page, tmp_path) == page


def test_rows_of_subjects_measured_apart_become_one():
    row = Row("get", "k", "us", "lower", {"lsmkv": [2.0]}, {"lmdb": "absent"})
    row.merge(Row("get", "k", "us", "lower", {"sqlite": [3.0]}, {"plyvel": "absent"}, notes={"sqlite": "slow"}))
    assert row.samples == {"lsmkv": [2.0], "sqlite": [3.0]}
    assert set(row.missing) == {"lmdb", "plyvel"}
    assert row.notes == {"sqlite": "slow"}
