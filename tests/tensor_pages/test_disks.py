"""One store on several disks: segments on all of them, and a disk that is gone or fails costs its own pages and nothing else."""

from __future__ import annotations

import pytest

from lsmkv.env.rng import seeded
from lsmkv.testing import MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv_tensor import PageStore
from lsmkv_tensor.errors import CorruptionError, InvalidArgumentError

PATHS = ["/store", "/disk-b", "/disk-c"]
SIZE = 4000
PER_SEGMENT = 13


def opened(world, paths=PATHS, **changes) -> PageStore:
    world.store = PageStore.open(paths, options=world.options(**changes))
    return world.store


def segments_in(world, path) -> list[str]:
    return [name for name in world.fs.listdir(f"{path}/vlog") if name.endswith(".seg")]


def filled(world, segments: int = 5):
    """So many full segments, spread over all disks, everything durable."""
    store = opened(world)
    ns = store.namespace({"m": 1}, SIZE)
    for i in range(segments):
        world.put(ns, range(i * PER_SEGMENT, (i + 1) * PER_SEGMENT))
    store.sync()
    return store, ns, set(range(segments * PER_SEGMENT))


def remove(world, path) -> None:
    """Pull the disk out: its mount point stays, empty."""
    for name in world.fs.listdir(f"{path}/vlog"):
        world.fs.unlink(f"{path}/vlog/{name}")
    world.fs.unlink(f"{path}/DISK")


def test_segments_lie_on_all_disks_and_the_first_path_finds_them_again(world):
    world.segments = 8
    store, ns, everything = filled(world)
    assert all(segments_in(world, path) for path in PATHS)
    assert store.stats().disks == 3
    assert world.check(ns, everything) == everything
    store.close()
    for paths in (PATHS[0], PATHS, PATHS[:2]):
        store = opened(world, paths)
        assert store.stats().disks == 3
        assert world.check(store.namespace({"m": 1}, SIZE), everything) == everything
        store.close()


def test_capacity_is_over_all_disks_together(world):
    store, ns, everything = filled(world, segments=12)
    stats = store.stats()
    assert stats.physical_bytes <= stats.capacity_bytes
    assert sum(len(segments_in(world, path)) for path in PATHS) == stats.segments <= stats.segments_max
    assert world.check(ns, everything) < everything


def test_a_disk_that_is_gone_costs_its_own_pages(world):
    world.segments = 8
    store, ns, everything = filled(world)
    there = world.check(ns, everything)
    per_disk = {path: len(segments_in(world, path)) for path in PATHS}
    store.close()
    remove(world, "/disk-b")
    store = opened(world)
    ns = store.namespace({"m": 1}, SIZE)
    left = world.check(ns, everything)
    lost = store.stats().lost_pages
    assert len(left) + lost == len(there)
    assert 0 < lost <= per_disk["/disk-b"] * PER_SEGMENT
    assert store.stats().failed_disks == 1
    assert not world.fs.exists("/disk-b/DISK"), "an empty mount point is not taken for a new disk"
    assert world.put(ns, range(1000, 1000 + 3 * PER_SEGMENT)) == [True] * (3 * PER_SEGMENT)
    assert not segments_in(world, "/disk-b")
    assert world.check(ns, range(1000, 1030)) == set(range(1000, 1030))
    world.reopen()
    assert world.check(world.store.namespace({"m": 1}, SIZE), range(1000, 1030)) == set(range(1000, 1030))


def test_a_disk_that_comes_back_is_used_again_and_shows_nothing_old(world):
    world.segments = 8
    store, _, everything = filled(world)
    store.close()
    hidden = {name: world.fs.open(name).pread(1 << 20, 0) for name in ["/disk-b/DISK"]}
    old = {name: world.fs.open(f"/disk-b/vlog/{name}").pread(1 << 20, 0) for name in segments_in(world, "/disk-b")}
    remove(world, "/disk-b")
    store = opened(world)
    left = world.check(store.namespace({"m": 1}, SIZE), everything)
    store.close()
    for name, data in [*hidden.items(), *((f"/disk-b/vlog/{n}", d) for n, d in old.items())]:
        file = world.fs.open(name, "create")
        file.pwritev([data], 0)
        file.close()
    store = opened(world, PATHS[0])
    assert store.stats().failed_disks == 0
    ns = store.namespace({"m": 1}, SIZE)
    assert world.check(ns, everything) == left
    for start in range(2000, 2000 + 4 * PER_SEGMENT, PER_SEGMENT):
        world.put(ns, range(start, start + PER_SEGMENT))
    assert segments_in(world, "/disk-b")


def test_a_disk_that_fails_while_the_store_is_open_is_written_to_no_more(world):
    world.segments = 8
    world.fs = FaultFileSystem(MemoryFileSystem())
    _, ns, _ = filled(world, segments=3)
    for op in ("allocate", "pwritev"):
        world.fs.add(FailOp(path="/disk-b/*", op=op))
    for start in range(3000, 3000 + 4 * PER_SEGMENT, PER_SEGMENT):
        world.put(ns, range(start, start + PER_SEGMENT))
    assert world.put(ns, [9000]) == [True]
    assert world.check(ns, [9000]) == {9000}


def test_a_directory_of_another_store_is_refused(world):
    opened(world).close()
    with pytest.raises(InvalidArgumentError, match="segments of another store"):
        PageStore.open(["/other", "/disk-b"], options=world.options(rng=seeded(2)))
    PageStore.open("/third", options=world.options(rng=seeded(3))).close()
    with pytest.raises(InvalidArgumentError, match="page store of its own"):
        PageStore.open(["/store", "/third"], options=world.options())


def test_a_path_of_bytes_is_told_as_one():
    """Each of its bytes was taken for a path: "not int"."""
    with pytest.raises(InvalidArgumentError, match="not bytes"):
        PageStore.open(b"/a")


@pytest.mark.parametrize("paths", [[], ["/a", "/a"], [b"/a"], [""]])
def test_what_names_no_directories_is_refused(world, paths):
    with pytest.raises(InvalidArgumentError):
        PageStore.open(paths, options=world.options())


def test_every_flipped_byte_of_a_disks_stamp_costs_that_disk_or_nothing(world):
    store, ns, everything = filled(world, segments=3)
    left = world.check(ns, everything)
    store.close()
    for at in range(0, 64, 7):
        file = world.fs.open("/disk-c/DISK", "rw")
        old = file.pread(1, at)
        file.pwritev([bytes([old[0] ^ 4])], at)
        with pytest.raises(CorruptionError):
            PageStore.open(["/fresh", "/disk-c"], options=world.options())
        file.pwritev([old], at)
        file.close()
    store = opened(world)
    assert world.check(store.namespace({"m": 1}, SIZE), everything) == left
