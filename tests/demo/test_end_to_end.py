"""The demo with its random model, from the command line to the last check, and the ways it can end early."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path


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


def test_a_killed_child_is_told(start):
    """Somebody (the system, out of memory) kills a child: one line, exit code 1."""
    process = start()
    process.until("importing torch")
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1, out
    assert "was killed by signal 9" in err
    assert len(err.strip().splitlines()) == 1


def test_interrupted_it_says_so_in_a_line(start):
    process = start()
    process.until("importing torch")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert (out + err).strip().count("interrupted") == 1
    assert "Traceback" not in out + err


def test_a_store_too_small_for_the_prompt_is_refused(start):
    process = start("--tokens", "1000", "--capacity", "6MiB")
    out, err = process.communicate()
    assert process.returncode == 2, out
    assert "--capacity" in err
    assert len(err.strip().splitlines()) == 1
