"""docs/lab.md tells the truth: its workload reads, its example runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from lsmkv.lab import parse_workload

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "lab.md").read_text()


def test_the_workload_of_the_page_reads() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert [phase.name for phase in parse_workload(text).phases] == ["serve", "churn"]


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "lab.md", "exec"), {})
    assert (tmp_path / "rows.csv").stat().st_size > 1_000
    assert "leveled T=4" in capsys.readouterr().out


def test_every_number_of_the_page_comes_from_the_committed_results() -> None:
    spec = importlib.util.spec_from_file_location("lab_page", DOCS / "lab_page.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page(PAGE) == PAGE
    assert set(made.MARKS.findall(PAGE)) >= {("<!-- ablate -->\n", "ablate", "<!-- end -->")}
