"""The demo's checks can fail, and then say so."""

from __future__ import annotations

import copy
import json

import pytest
from rich.console import Console

from lsmkv_tensor.cli.demo_report import evaluate
from lsmkv_tensor.cli.demo_view import human_bytes, show

FIRST = {
    "title": "a model [in brackets]",
    "threads": 2,
    "torch": "2",
    "prompt_tokens": 1000,
    "tokens": 992,
    "kv_bytes": 992_000,
    "pages_stored": 62,
    "page_bytes": 16_000,
    "digest": "ab" * 32,
    "computed_s": 2.0,
    "accepted_s": 0.01,
    "saved_s": 0.02,
    "torch_save_s": 0.04,
    "torch_file_bytes": 993_000,
    "disk_bytes": 1_000_000,
    "question": "how [many]?",
    "answer": [5, 6, 2],
    "said": [5, 6],
    "text": "so \x1b[31m many",
    "conversation_tokens": 992,
}
SECOND = {
    "cold": {"ttft_s": [0.3, 0.1, 0.2], "restore_s": [0.1, 0.1, 0.1], "device_bytes": 992_000},
    "warm": {"ttft_s": [0.1, 0.1, 0.1], "restore_s": [0.05, 0.05, 0.05], "device_bytes": None},
    "reads": {name: {"cold_s": [0.1, 0.1, 0.1], "warm_s": [0.01, 0.01, 0.01]} for name in ("store", "torch")},
    "restored_tokens": 992,
    "computed_s": [4.0, 3.0],
    "digest": "ab" * 32,
    "bit_equal": True,
    "logits_difference": 1e-5,
    "tolerance": 1e-3,
    "answers": {"restored": [5, 6, 2], "computed": [5, 6, 2], "generate": [5, 6, 2]},
    "open_s": 0.001,
    "second_turn": {
        "question": "and?",
        "text": "then",
        "prompt_tokens": 1030,
        "restored_tokens": 992,
        "ttft_s": 0.1,
        "computed_s": 3.0,
        "same_text": True,
    },
    "stats": {},
}


def test_medians_rates_and_ratios():
    report = evaluate("smollm2", FIRST, SECOND)
    assert report.ok
    numbers = report.to_dict()
    assert numbers["ttft_computed_s"] == 3.0
    assert numbers["cold"]["ttft_s"] == 0.2
    assert numbers["speed_up"] == pytest.approx(15.0)
    assert numbers["cold"]["read_mb_s"] == pytest.approx(9.92)
    assert numbers["break_even_mb_s"] == pytest.approx(1000 * 1000 / 3.0 / 1e6)
    assert numbers["tokens"] == {"prompt": 1000, "restored": 992, "computed": 8}
    json.dumps(numbers)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("restored bytes", ["digest"], "cd" * 32),
        ("recomputed KV", ["bit_equal"], False),
        ("logits", ["logits_difference"], 1e-2),
        ("logits", ["logits_difference"], float("nan")),
        ("same answer", ["answers", "restored"], [5, 7, 2]),
        ("same answer", ["answers", "computed"], [5, 6]),
        ("same answer", ["answers", "generate"], []),
        ("next question", ["second_turn", "same_text"], False),
        ("next question", ["second_turn", "restored_tokens"], 976),
        ("time to first token", ["cold", "ttft_s"], [0.31, 0.31, 0.31]),
    ],
)
def test_each_check_can_fail(name, path, value):
    second = copy.deepcopy(SECOND)
    place = second
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    report = evaluate("smollm2", FIRST, second)
    assert [check.name for check in report.checks if not check.ok] == [name]
    assert not report.to_dict()["ok"]
    console = Console(record=True, width=120)
    show(report, console)
    assert f"FAILED {name}" in console.export_text()


def test_nothing_is_asked_of_the_random_models_speed():
    slow = SECOND | {"cold": SECOND["cold"] | {"ttft_s": [9.0, 9.0, 9.0]}}
    assert evaluate("random", FIRST, slow).ok


def test_pages_that_were_there_already_are_no_write_speed():
    console = Console(record=True, width=120)
    report = evaluate("smollm2", FIRST | {"pages_stored": 3}, SECOND)
    show(report, console)
    assert report.numbers["save"]["mb_s"] is None
    assert "not written again" in console.export_text()
    assert evaluate("smollm2", FIRST, SECOND).numbers["save"]["mb_s"] == pytest.approx(0.992 / 0.02)


def test_the_screen_shows_text_as_it_is_but_no_control_characters():
    console = Console(record=True, width=120)
    show(evaluate("smollm2", FIRST, SECOND), console)
    text = console.export_text()
    assert "how [many]?" in text
    assert "\x1b" not in text
    assert "15.0x" in text
    assert "not told by this system" in text


def test_sizes_for_people():
    assert [human_bytes(n) for n in (0, 999, 1500, 96_583_680, 3e9)] == ["0 B", "999 B", "1.5 kB", "96.6 MB", "3.0 GB"]
