"""Which engines the tests of this folder ran against: the others say here how to have them."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

import pytest


@pytest.mark.parametrize("engine", ["sglang", "vllm", "lmcache"])
def test_the_engine_is_the_one_that_was_read(engine):
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed here: make test-{engine} installs it and runs these tests")
    assert version(engine).startswith({"sglang": "0.5.23", "vllm": "0.33.", "lmcache": "0.5.6"}[engine])
