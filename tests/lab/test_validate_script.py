"""``make validate``: a run that ends early spoils nothing that is committed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_a_run_that_is_cut_short_leaves_the_committed_rows(tmp_path: Path) -> None:
    """Half a grid stood in validate.csv then, beside the date and the machine of the whole one."""
    (tmp_path / "lab").mkdir()
    shutil.copy(DOCS / "validate.py", tmp_path)
    for name in ("validate.csv", "validate.json"):
        (tmp_path / "lab" / name).write_text("as committed")
    command = tmp_path / "lsmkv"
    command.write_text('#!/bin/sh\necho half > "$4"\nexit 130\n')
    command.chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    code = f"import sys, runpy; sys.executable = {str(tmp_path / 'python')!r}; sys.argv = ['validate.py']; "
    code += f"runpy.run_path({str(tmp_path / 'validate.py')!r}, run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "stay as they were" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [(tmp_path / "lab" / name).read_text() for name in ("validate.csv", "validate.json")] == ["as committed"] * 2
    assert (tmp_path / "lab" / "validate.new.csv").read_text() == "half\n"
