"""Keeps docs/benchmarks.md in step with the committed results: tables between markers are made from bench/results/*.json."""

from __future__ import annotations

import re
from pathlib import Path

from bench.report import load, markdown

__all__ = ["render", "write_docs"]

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "benchmarks.md"
_BLOCK = re.compile(r"(<!-- result: (\S+) -->\n).*?(<!-- end of result -->)", re.DOTALL)


def render(text: str, root: Path = _ROOT) -> str:
    """``text`` with every marked block replaced by the table of the result file it names, relative to ``root``.

    A file that is not there yet is said to be missing: a group may be measured later than its text is written.
    """

    def table(name: str) -> str:
        path = root / name
        return markdown(load(path)) if path.exists() else "Not measured yet.\n"

    return _BLOCK.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", text)


def write_docs() -> int:
    """Rewrite docs/benchmarks.md in place."""
    _PAGE.write_text(render(_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {_PAGE.relative_to(_ROOT)}")
    return 0
