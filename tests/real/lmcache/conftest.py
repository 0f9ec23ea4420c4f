"""The real LMCache, where it is installed: `make test-lmcache` installs it. Elsewhere nothing here is collected."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

if find_spec("lmcache") is None:
    collect_ignore_glob = ["*.py"]
else:
    os.environ.setdefault("LMCACHE_TRACK_USAGE", "false")


@pytest.fixture
def start(tmp_path):
    """Servers on one directory; each call is a start."""
    from tests.real.lmcache.world import Server

    servers = []

    def make(*, eviction=None, serde=None, world_size=1, salt="", **params):
        params = {"path": str(tmp_path / "kv"), "conflict_wait_s": 0.1, **params}
        servers.append(Server(params, eviction=eviction, serde=serde, world_size=world_size, salt=salt))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
