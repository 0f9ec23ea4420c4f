"""The tests of the exercises run with ``exercise.py``, or with ``solution.py`` if asked: ``pytest docs/lessons --solution``."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--solution``."""
    parser.addoption("--solution", action="store_true", help="test solution.py instead of exercise.py")


@pytest.fixture
def work(request: pytest.FixtureRequest) -> ModuleType:
    """The code under test: the module beside the test file."""
    name = "solution" if request.config.getoption("--solution") else "exercise"
    path = request.path.parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_{path.parent.name[:2]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
