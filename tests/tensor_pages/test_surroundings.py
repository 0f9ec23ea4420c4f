"""What the world around a store does to it: paths that are none, full disks, forks."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv_tensor.errors import ClosedError, InvalidArgumentError, IOFailedError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from tests.tensor_pages.conftest import INDEX, SEGMENT

SIZE = 4000
PER_SEGMENT = 13
SMALL = StoreOptions(capacity_bytes=INDEX + 8192 + 4 * SEGMENT, segment_bytes=SEGMENT, index_bytes=INDEX)


def test_a_path_object_is_a_path(tmp_path):
    with PageStore.open(tmp_path / "a" / "b", options=SMALL) as store:
        assert store.path == str(tmp_path / "a" / "b")
    assert Path(store.path, "STORE").exists()


@pytest.mark.parametrize("path", ["", None, 3, b"/x", "a\0b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InvalidArgumentError, match="path"):
        PageStore.open(path, options=SMALL)


def test_a_file_in_the_place_of_the_directory_is_a_named_error(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(IOFailedError, match="directory"):
            PageStore.open(path, options=SMALL)


def test_a_disk_that_is_full_before_the_capacity_recycles_its_own_segments(make_world):
    world = make_world(fs=MemoryFileSystem(capacity_bytes=5 * SEGMENT), segments=20)
    ns = world.open(index_bytes=64 << 10).namespace({"m": 1}, SIZE)
    for start in range(0, 20 * PER_SEGMENT, PER_SEGMENT):
        assert all(world.put(ns, range(start, start + PER_SEGMENT)))
    last = range(19 * PER_SEGMENT, 20 * PER_SEGMENT)
    assert world.check(ns, last) == set(last)
    assert world.store.stats().declined_pages == 0
    world.store.close()


def in_child(action) -> int:
    """The exit status of a forked child: 0 if ``action`` returns, 2 if it raises ClosedError; negative if it hangs."""
    pid = os.fork()
    if not pid:
        signal.alarm(5)
        status = 1
        try:
            action()
            status = 0
        except ClosedError:
            status = 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_in_a_forked_child_everything_is_closed_even_with_a_thread_inside(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(3))
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with store._gate, store._gate._state, store._log.lock:
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)
    store._space.evicted = [(bytes(32), 1)]
    calls = [
        store.stats,
        store.sync,
        store.gc,
        store.namespaces,
        lambda: store.namespace({"m": 2}, SIZE),
        lambda: ns.contains(world.keys([1])),
        lambda: world.put(ns, [9]),
        lambda: world.read(ns, [1]),
        lambda: ns.delete_many(world.keys([1])),
        lambda: ns.write_records({b"x": b"y"}),
    ]
    statuses = [in_child(call) for call in calls]
    closing = in_child(store.close)
    store._space.evicted = []
    go_on.set()
    thread.join(10)
    assert statuses == [2] * len(calls)
    assert closing == 0
    assert world.check(ns, range(3)) == set(range(3))


def test_arguments_of_other_types_are_refused_by_name(world):
    store = world.open()
    for fields in (None, 3, [("a", 1)]):
        with pytest.raises(InvalidArgumentError, match="fields"):
            store.namespace(fields, SIZE)
    for max_live in ("x", None, True, float("nan")):
        with pytest.raises(InvalidArgumentError, match="max_live"):
            store.gc(max_live=max_live)
