"""The demo with its random model, from the command line to the last check, with processes that are killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = "import typer; from lsmkv_tensor.cli.demo import demo; typer.run(demo)"
SHORT = ["--model", "random", "--tokens", "300", "--threads", "1"]


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start the command in a directory of its own; whatever still runs at the end is killed."""
    started = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")

    def begin(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *SHORT, "--path", str(tmp_path / "demo"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(process, text):
    """Read the command's output up to the line that has ``text``."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(process.stderr.read())


def test_a_whole_demo(start, tmp_path):
    process = start("--json", str(tmp_path / "out.json"))
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert "FAILED" not in out
    assert "x sooner" not in out  # nothing is claimed of this model's speed
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["ok"]
    assert [check["name"] for check in report["checks"]] == [
        "restored bytes",
        "recomputed KV",
        "logits",
        "same answer",
        "next question",
    ]
    assert report["tokens"] == {"prompt": 300, "restored": 288, "computed": 12}
    assert report["kv_bytes"] == 288 * report["kv_bytes_per_token"] == 288 * 2 * 8 * 5 * 32 * 4
    assert report["second_turn"]["restored_tokens"] > 300
    assert 0 < report["kv_bytes"] < report["disk_bytes"]
    assert report["ttft_computed_s"] > 0
    for name in ("level", "entries"):  # the tree
        assert name in out


def test_killed_again_and_again_it_still_comes_to_its_end(start):
    """SIGKILL of the command, later each time; the next one goes on with whatever store was left behind."""
    for moment in ("importing torch", "storing its pages", "answering", "restoring the prefix, cold", "to compare"):
        process = start("--keep")
        until(process, moment)
        process.kill()
        process.wait()
    last = start("--keep")
    out, err = last.communicate()
    assert last.returncode == 0, out + err


def test_a_killed_child_is_told(start):
    """Somebody (the system, out of memory) kills a child: one line, exit code 1."""
    process = start()
    until(process, "importing torch")
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1, out
    assert "was killed by signal 9" in err
    assert len(err.strip().splitlines()) == 1


def test_interrupted_it_says_so_in_a_line(start):
    process = start()
    until(process, "importing torch")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert (out + err).strip().count("interrupted") == 1
    assert "Traceback" not in out + err


def test_a_prompt_that_cannot_be_cut_to_that_length_is_refused(start):
    process = start("--tokens", "20")
    out, err = process.communicate()
    assert process.returncode == 2, out
    assert err.startswith("lsmkv demo: --tokens 20: ")
    assert len(err.strip().splitlines()) == 1


def test_a_store_too_small_for_the_prompt_is_refused(start):
    process = start("--capacity", "6MiB")
    out, err = process.communicate()
    assert process.returncode == 2, out
    assert "--capacity" in err
    assert len(err.strip().splitlines()) == 1
