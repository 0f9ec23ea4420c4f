"""What a configuration may set, and what it is told about the rest."""

from __future__ import annotations

import pytest

from lsmkv.testing import FaultFileSystem, MemoryFileSystem
from lsmkv_tensor.adapters.given import check_path, store_options
from lsmkv_tensor.errors import InvalidArgumentError

GIB = 1 << 30


@pytest.mark.parametrize("name", ["fs", "clock", "rng", "scheduler", "capacity_bytes", "no_such"])
@pytest.mark.parametrize("value", ["text", 1, 1.5, True, [], {}])
def test_what_no_configuration_can_set_is_refused_by_name(name, value):
    with pytest.raises(InvalidArgumentError, match=rf"^LsmkvTier has no setting '{name}'; besides its own there are .*direct_io"):
        store_options("LsmkvTier", {name: value}, capacity_bytes=GIB, io_timeout_s=None)


def test_a_seam_that_is_an_object_is_taken():
    fs = FaultFileSystem(MemoryFileSystem())
    assert store_options("LsmkvTier", {"fs": fs}, capacity_bytes=GIB, io_timeout_s=None).fs is fs


def test_numbers_that_are_whole_may_be_written_as_floats():
    chosen = store_options("LsmkvTier", {"block_cache_bytes": 2e6}, capacity_bytes=1e9, io_timeout_s=4.0)
    assert (chosen.capacity_bytes, chosen.block_cache_bytes, chosen.io_timeout_s) == (10**9, 2_000_000, 4.0)


@pytest.mark.parametrize("path", ["kv", "./kv", "~/kv", "", None, 3])
def test_a_path_that_depends_on_where_a_process_was_started_is_refused(path):
    with pytest.raises(InvalidArgumentError, match=r"^LsmkvTier: path = .*: must be the directory of the cache, from \"/\" on"):
        check_path("LsmkvTier", path)
