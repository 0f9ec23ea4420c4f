"""Opening a store does not pay for the laboratory and the cost model: they are imported when somebody asks for them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv
from lsmkv import cost

ROOMS = ("lsmkv.cost", "lsmkv.lab", "typer", "rich", "torch")
LOADED = f"import lsmkv, sys; print(*sorted(name for name in sys.modules if name.startswith({ROOMS})))"
STUB = Path(lsmkv.__file__).parent / "cost/__init__.pyi"


def test_importing_the_engine_loads_of_model_and_laboratory_what_it_needs() -> None:
    """All of both was loaded, a tenth of the time that importing takes."""
    told = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout.split()
    needed = ["checks", "filters", "later", "monkey", "planned", "seen"]
    assert told == ["lsmkv.cost", *(f"lsmkv.cost.{name}" for name in needed)]


def test_tools_and_python_find_the_same_names_in_the_cost_model() -> None:
    found: dict[str, str] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            found |= {
                one.name: f"{node.module}.{one.name}" if node.module == "lsmkv.cost" else str(node.module) for one in node.names
            }
        elif isinstance(node, ast.Assign):
            assert ast.literal_eval(node.value) == cost.__all__ == dir(cost)
    assert found == cost.__where__
    for name, module in found.items():
        assert module == f"lsmkv.cost.{name}" or getattr(cost, name) is getattr(sys.modules[module], name)


def test_a_name_that_does_not_exist_is_missed_as_ever() -> None:
    with pytest.raises(AttributeError, match=r"module 'lsmkv.cost' has no attribute 'nothing'"):
        _ = cost.nothing
