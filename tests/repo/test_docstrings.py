"""A function, class or module has one docstring: a second string behind it is dead text that no tool shows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("lsmkv", "lsmkv_tensor") for path in (ROOT / package).rglob("*.py"))


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def doubles(source: str) -> list[str]:
    """Names of what has a string statement right behind its docstring."""
    nodes = [
        n
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [getattr(n, "name", "module") for n in nodes if len(n.body) > 1 and is_text(n.body[0]) and is_text(n.body[1])]


def test_the_search_finds_a_double() -> None:
    assert doubles('def f():\n    """One."""\n    """Two."""\n') == ["f"]
    assert doubles('"""One."""\n\nx = 1\n"""What x is."""\n\n\ndef f():\n    """One."""\n') == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_has_two_docstrings(path: Path) -> None:
    assert doubles(path.read_text()) == []
