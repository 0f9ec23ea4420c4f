"""The examples of the cost model, the papers' printed numbers among them, are run as they stand."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import lsmkv.cost

MODULES = sorted(m.name for m in pkgutil.walk_packages(lsmkv.cost.__path__, "lsmkv.cost."))
PAGE = Path(__file__).parents[2] / "docs" / "cost-model.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_examples_of_the_page_for_students_hold():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert failed == 0
    assert tried > 30
