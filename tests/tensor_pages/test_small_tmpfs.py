"""A file system that is really full: a tmpfs smaller than the store's capacity. Skipped where mounting is not permitted."""

from __future__ import annotations

import subprocess

import pytest

from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from tests.tensor_pages.conftest import INDEX, SEGMENT, World

SIZE = 4000


@pytest.fixture
def tiny(tmp_path):
    """A directory on a file system of 1.5 MiB."""
    at = tmp_path / "tiny"
    at.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tiny", at], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting a tmpfs is not permitted here: {error}")
    yield at
    subprocess.run(["umount", "-l", at], check=True)


def fill(at, **options):
    """What a store holds whose capacity is more than the disk has, after more was put than fits."""
    fields = {"capacity_bytes": INDEX + 8192 + 64 * SEGMENT, "segment_bytes": SEGMENT, "index_bytes": INDEX}
    options = StoreOptions(**fields, **options)
    with PageStore.open(at, options=options) as store:
        ns = store.namespace({"m": 1}, SIZE)
        for start in range(0, 1000, 10):
            ids = range(start, start + 10)
            stored = {i for i, flag in zip(ids, World.put(ns, ids), strict=True) if flag}
            assert stored <= World.check(ns, ids)
        live = World.check(ns, range(1000))
        stats = store.stats()
        assert stats.segments < stats.segments_max, "the disk was the bound, not the capacity"
        assert 0 < len(live) == stats.pages
        assert store.health().state == "ok", "a full disk is no failure"
    return options, live


@pytest.mark.parametrize("direct_io", ["auto", "off"])
def test_a_full_disk_declines_or_evicts_and_never_lies(tiny, direct_io):
    options, live = fill(tiny / "store", direct_io=direct_io, min_free_bytes=256 << 10)
    with PageStore.open(tiny / "store", options=options) as store:
        assert World.check(store.namespace({"m": 1}, SIZE), range(1000)) == live


def test_a_disk_filled_to_the_last_byte_opens_at_the_price_of_a_segment_or_two(tiny):
    options, live = fill(tiny / "store")
    with PageStore.open(tiny / "store", options=options) as store:
        left = World.check(store.namespace({"m": 1}, SIZE), range(1000))
        assert store.stats().lost_pages == len(live - left)
    assert len(live - left) <= 2 * (SEGMENT // SIZE)
    assert left <= live
    with PageStore.open(tiny / "store", options=options) as store:
        assert World.check(store.namespace({"m": 1}, SIZE), range(1000)) <= left
