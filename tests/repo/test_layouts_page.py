"""docs/layouts.md tells the truth: every example runs as it is printed, and its sections are all there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/layouts.md").read_text()
SECTIONS = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_section_has_an_example() -> None:
    assert len(EXAMPLES) == len(SECTIONS) == 4


@pytest.mark.parametrize("example", EXAMPLES, ids=SECTIONS)
def test_it_runs_as_printed(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "layouts.md", "exec"), {})
    assert "assert " in example
    assert list(tmp_path.glob("*/STORE")), "it stores something"
