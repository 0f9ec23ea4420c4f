"""The command as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lsmkv(*arguments: object, code: str = "from lsmkv.cli import main; main()") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'lsmkv'\n{code}", *map(str, arguments)]
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


def test_ctrl_c_while_it_still_imports_is_quiet() -> None:
    early = """
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "lsmkv.cli.app":
            raise KeyboardInterrupt
import lsmkv.cli
sys.meta_path.insert(0, Interrupted())
lsmkv.cli.main()
"""
    done = lsmkv("tree", "nowhere", code=early)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_when_all_is_said_makes_no_failure_of_it(store: Path) -> None:
    late = """
import atexit, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(os.kill, os.getpid(), signal.SIGINT)  # the first to be registered is the last to be called
from lsmkv.cli import main
main()
"""
    done = lsmkv("verify", store, code=late)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", [["stats", "{}", "--json"], ["scan", "{}", "--json"], ["tree", "{}"], ["top", "{}", "--once"]]
)
def test_a_full_disk_behind_standard_output_is_one_line(store: Path, command: list[str]) -> None:
    told = [word.format(store) for word in command]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lsmkv.cli", *told],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr
