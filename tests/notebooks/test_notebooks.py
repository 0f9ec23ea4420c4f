"""docs/notebooks: every cell runs, without Jupyter too, and puts out what the file has; files are small and hold no times."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def run_cell(source: str, names: dict[str, object]) -> tuple[str, object]:
    """What a cell prints, and the value of its last line if that is an expression."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return out.getvalue(), value


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_put_out_what_the_file_has(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    module = ModuleType("notebook")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where dataclasses look
    names, shown = vars(module), 0
    for cell in cells:
        printed, value = run_cell("".join(cell["source"]), names)
        said = "".join("".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream")
        assert said == printed
        for one in cell["outputs"]:
            if one["output_type"] == "execute_result":
                assert "".join(one["data"]["text/plain"]) == repr(value)
                assert "".join(one["data"]["image/svg+xml"]) == value._repr_svg_()
        shown += bool(cell["outputs"])
    assert shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_file_is_small_asks_before_it_tells_and_holds_no_times(path: Path) -> None:
    text = path.read_text()
    cells = json.loads(text)["cells"]
    assert len(text.encode()) < 30_000
    assert any("## Predict" in "".join(cell["source"]) for cell in cells)
    assert all(cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert all(cell["metadata"] == {} for cell in cells), "execution times are metadata"
    assert path.name in (FOLDER / "README.md").read_text()


def test_there_are_three_and_the_idea_of_each_is_short() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cell = next(cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
        lines = [
            line for line in "".join(cell["source"]).splitlines() if line.strip() and not line.startswith(("import", "from"))
        ]
        assert len(lines) <= 22, path.name
