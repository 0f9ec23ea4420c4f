"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("lsmkv", "lsmkv_tensor")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CODE = sorted({*SOURCES, *(p for folder in ("tests", "property_tests", "bench") for p in (ROOT / folder).rglob("*.py"))})
MOST_LINES = 400
MOST_FUNCTION_LINES = 75


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MOST_FUNCTION_LINES, f"{node.name} is long"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=name_of)
def test_an_init_names_its_door_and_nothing_else(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets)
        assert docstring or names or isinstance(node, ast.Import | ast.ImportFrom), f"line {node.lineno}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=name_of)
def test_all_is_sorted(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_every_exception_to_a_rule_has_its_reason(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        noqa = re.search(r"# noqa: [A-Z0-9, ]+(.*)", line)
        ignore = re.search(r"# type: ignore\[[a-z, -]+\](.*)", line)
        for found in (noqa, ignore):
            assert found is None or len(found.group(1).strip(" -#")) > 3, f"line {number}: {line.strip()}"


def test_every_ruff_exception_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    for line in section.splitlines():
        if re.match(r'\s*"[A-Z]+\d*",|"[^"]+" = \["', line):
            assert " # " in line or "#" in line, line


def test_nothing_points_at_a_machine_or_is_left_to_do() -> None:
    forbidden = re.compile(
        "|".join(["T" + "ODO", "FIX" + "ME", "X" * 3, "/" + "work/", "find-" + "links", "extra-index" + "-url"])
    )
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile", ROOT / "constraints.txt", ROOT / ".ci/run"]
    found = [f"{name_of(p)}: {m.group()}" for p in [*CODE, *pages] if (m := forbidden.search(p.read_text()))]
    assert found == []
