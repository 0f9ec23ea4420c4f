"""Servers of the real SGLang in real processes, on one directory."""

from __future__ import annotations

import pytest

from tests.adapters.hicache import cases
from tests.adapters.hicache.servers import Servers


@pytest.fixture
def servers(tmp_path):
    found = Servers("tests.real.hicache.server", tmp_path)
    yield found
    found.stop()


def test_ranks_of_a_replicated_pool(servers):
    cases.replicated_ranks(servers)


def test_replicas(servers):
    cases.replicas(servers)


@pytest.mark.parametrize("conflict", ["wait", "fresh"])
def test_a_rolling_restart(servers, conflict):
    cases.rolling_restart(servers, conflict)


def test_a_spoilt_directory_stops_no_server(servers):
    cases.start_in_a_spoilt_directory(servers, "newer", "wait")
