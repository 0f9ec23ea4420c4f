"""Servers in real processes: ranks that share pages, replicas, rolling restarts, kills."""

from __future__ import annotations

import pytest

from tests.adapters.hicache import cases
from tests.adapters.hicache.servers import Servers


@pytest.fixture
def servers(tmp_path):
    found = Servers("tests.adapters.hicache.small", tmp_path)
    yield found
    found.stop()


def test_ranks_of_a_replicated_pool(servers):
    cases.replicated_ranks(servers)


def test_replicas(servers):
    cases.replicas(servers)


def test_two_replicas_that_store_the_same_at_once(servers):
    cases.both_at_once(servers)


@pytest.mark.parametrize("conflict", ["wait", "follow", "fresh"])
def test_a_rolling_restart(servers, conflict):
    cases.rolling_restart(servers, conflict)


def test_a_server_that_is_killed_while_it_stores(servers):
    cases.killed_while_it_stores(servers)


@pytest.mark.parametrize("how", ["newer", "stamp", "index", "nothing"])
@pytest.mark.parametrize("conflict", ["wait", "follow", "fresh"])
def test_a_spoilt_directory_stops_no_server(servers, how, conflict):
    cases.start_in_a_spoilt_directory(servers, how, conflict)
