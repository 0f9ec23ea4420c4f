"""The examples of the cost model, the papers' printed numbers among them, are run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import lsmkv.cost

MODULES = sorted(m.name for m in pkgutil.iter_modules(lsmkv.cost.__path__, "lsmkv.cost."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0
