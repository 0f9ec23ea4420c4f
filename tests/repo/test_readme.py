"""README.md tells the truth: its examples run, its links lead somewhere, its picture is what the code draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def lines_of_code(example: str) -> int:
    return sum(bool(line.strip()) and not line.startswith(("import", "from")) for line in example.splitlines())


@pytest.mark.parametrize("example", EXAMPLES, ids=["engine", "policies", "tensors"])
def test_examples_run_as_printed(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert list(tmp_path.iterdir()), "it stores something"


@pytest.mark.parametrize("example", EXAMPLES, ids=["engine", "policies", "tensors"])
def test_examples_are_about_ten_lines(example: str) -> None:
    assert lines_of_code(example) <= 12


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_picture_is_what_the_code_draws() -> None:
    spec = importlib.util.spec_from_file_location("readme_tree", ROOT / "docs/readme_tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = module.BLOCK.search(README)
    assert drawn is not None
    assert drawn.group(2) == module.picture(), "run `make docs`"
