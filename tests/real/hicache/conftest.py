"""The real SGLang, where it is installed: `make test-sglang` installs it. Elsewhere nothing here is collected."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("sglang") is None:
    collect_ignore_glob = ["*.py"]
else:
    from multiprocessing import forkserver, get_context

    get_context("forkserver").set_forkserver_preload(["tests.real.hicache.server"])
    forkserver.ensure_running()  # it imports SGLang while the first tests run

    from tests.real.hicache import cpu  # noqa: F401 - before anything of SGLang's


@pytest.fixture
def make(tmp_path):
    from tests.real.hicache.world import Makers

    makers = Makers(tmp_path)
    yield makers
    makers.close()
