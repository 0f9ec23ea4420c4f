"""The command as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lsmkv(*arguments: object, code: str = "from lsmkv.cli import main; main()") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'lsmkv'; {code}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_program_can_read_its_answer(store: Path) -> None:
    done = lsmkv("stats", store, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["entries"] > 0


def test_a_wrong_path_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = lsmkv("tree", tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_traceback(store: Path) -> None:
    table = max(store.glob("*.sst"), key=lambda p: p.stat().st_size)
    command = f"{sys.executable} -m lsmkv.cli dump {table} | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_says_how_to_get_it() -> None:
    hide = "import lsmkv.cli; m = sys.modules['lsmkv.cli.main']; m.find_spec = lambda name: None; m.main()"
    done = lsmkv("tree", code=hide)
    assert done.returncode == 2
    assert done.stderr == "lsmkv: the command needs typer and rich: pip install 'lsmkv[cli]'\n"
