"""What a power cut leaves of the disk in memory: all that was synced, and of the rest what chance wants."""

import errno
import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.env.fs import File, FileSystem
from lsmkv.env.rng import seeded
from lsmkv.errors import LockedError
from lsmkv.testing.memfs import MemoryFileSystem

SEEDS = range(60)


@pytest.fixture
def fs():
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    fs.sync_dir("/")
    return fs


def put(fs, path, data, *, sync=True):
    file = fs.open(path, "create")
    file.pwritev([data], 0)
    if sync:
        file.sync()
    return file


def contents(fs, where="/db"):
    return {name: fs.open(f"{where}/{name}").pread(1 << 20, 0) for name in fs.listdir(where)}


def outcomes(fs):
    return [contents(fs.crash(seeded(seed))) for seed in SEEDS]


def test_satisfies_the_protocols(fs):
    typed: FileSystem = fs
    assert isinstance(typed.open("/db/x", "create"), File)


def test_synced_file_in_unsynced_directory_may_be_lost(fs):
    put(fs, "/db/a", b"data")
    assert contents(fs.crash()) == {}
    assert {tuple(left) for left in outcomes(fs)} == {(), ("a",)}
    assert all(left in ({}, {"a": b"data"}) for left in outcomes(fs))


def test_synced_name_of_an_unsynced_file_may_be_empty(fs):
    put(fs, "/db/a", b"data", sync=False)
    fs.sync_dir("/db")
    assert contents(fs.crash()) == {"a": b""}
    assert {b"", b"data"} <= {left["a"] for left in outcomes(fs)}


def test_synced_file_in_synced_directory_survives_anything(fs):
    put(fs, "/db/a", b"data")
    fs.sync_dir("/db")
    assert all(left == {"a": b"data"} for left in [contents(fs.crash()), *outcomes(fs)])


@pytest.mark.parametrize("above_synced", [False, True])
def test_directory_whose_name_was_never_synced_is_lost_with_all_it_holds(fs, above_synced):
    fs.mkdir("/new/inner")
    put(fs, "/new/inner/a", b"data")
    fs.sync_dir("/new/inner")
    fs.sync_dir("/new")
    if above_synced:
        fs.sync_dir("/")
        assert contents(fs.crash(), "/new/inner") == {"a": b"data"}
    else:
        assert not fs.crash().exists("/new")


def test_unsynced_writes_survive_independently_and_torn(fs):
    file = put(fs, "/db/a", b"................")
    fs.sync_dir("/db")
    file.pwritev([b"1111"], 0)
    file.pwritev([b"2222"], 8)
    left = {outcome["a"] for outcome in outcomes(fs)}
    assert contents(fs.crash())["a"] == b"................"
    assert b"1111....2222...." in left
    assert b"........2222...." in left, "a later write survives an earlier one"
    assert any(0 < value.count(b"1") < 4 for value in left), "a write is torn"
    assert all(len(value) == 16 and set(value) <= set(b"12.") for value in left)


def test_size_may_survive_without_the_data(fs):
    file = put(fs, "/db/a", b"old")
    fs.sync_dir("/db")
    file.pwritev([b"new!"], 3)
    assert b"old\0\0\0\0" in {outcome["a"] for outcome in outcomes(fs)}


def test_unsynced_truncation_may_be_undone(fs):
    file = put(fs, "/db/a", b"long contents")
    fs.sync_dir("/db")
    file.truncate(4)
    assert contents(fs.crash()) == {"a": b"long contents"}
    assert {outcome["a"] for outcome in outcomes(fs)} == {b"long", b"long contents"}


def test_rename_is_atomic(fs):
    put(fs, "/db/MANIFEST", b"old")
    fs.sync_dir("/db")
    put(fs, "/db/MANIFEST.tmp", b"new")
    fs.rename("/db/MANIFEST.tmp", "/db/MANIFEST")
    left = outcomes(fs)
    assert {outcome["MANIFEST"] for outcome in left} == {b"old", b"new"}
    assert all("MANIFEST.tmp" not in outcome for outcome in left if outcome["MANIFEST"] == b"new")


def test_of_one_name_no_later_change_survives_without_the_earlier(fs):
    for value in (b"1", b"2"):
        put(fs, "/db/a", value)
        fs.unlink("/db/a")
    put(fs, "/db/b", b"3")
    fs.rename("/db/b", "/db/c")
    left = outcomes(fs)
    assert {outcome.get("a") for outcome in left} == {None, b"1", b"2"}
    assert all(set(outcome) in (set(), {"b"}, {"c"}, {"a"}, {"a", "b"}, {"a", "c"}) for outcome in left)


def test_syncing_one_directory_carries_a_rename_into_both(fs):
    fs.mkdir("/other")
    fs.sync_dir("/")
    put(fs, "/db/a", b"data")
    fs.sync_dir("/db")
    fs.rename("/db/a", "/other/a")
    fs.sync_dir("/other")
    left = fs.crash()
    assert (contents(left), contents(left, "/other")) == ({}, {"a": b"data"})


def test_hard_links_stay_one_file(fs):
    file = put(fs, "/db/a", b"data")
    fs.link("/db/a", "/db/b")
    fs.sync_dir("/db")
    file.pwritev([b"DATA"], 0)
    assert all(outcome["a"] == outcome["b"] for outcome in outcomes(fs))
    left = fs.crash()
    left.open("/db/a", "rw").pwritev([b"both"], 0)
    assert contents(left) == {"a": b"both", "b": b"both"}


def test_after_the_cut_everything_open_is_dead_and_locks_are_free(fs):
    file = put(fs, "/db/a", b"data")
    lock = fs.lock("/db/LOCK")
    with pytest.raises(LockedError, match="in-memory"):
        fs.lock("/db/LOCK")
    left = fs.crash()
    for call in (lambda: file.pread(1, 0), file.size, file.sync, lambda: fs.open("/db/a"), lambda: fs.listdir("/db")):
        with pytest.raises(OSError, match="EIO") as caught:
            call()
        assert caught.value.errno == errno.EIO
    file.close()
    lock.release()
    left.lock("/db/LOCK").release()


def test_releasing_twice_does_not_release_the_next_owner(fs):
    first = fs.lock("/db/LOCK")
    first.release()
    second = fs.lock("/db/LOCK")
    first.release()
    with pytest.raises(LockedError):
        fs.lock("/db/LOCK")
    second.release()


def test_same_seed_leaves_the_same_disk(fs):
    file = put(fs, "/db/a", b"x" * 100, sync=False)
    for i in range(20):
        file.pwritev([b"%d" % i], i * 5)
        put(fs, f"/db/f{i}", b"y", sync=False)
    assert contents(fs.crash(seeded(3))) == contents(fs.crash(seeded(3)))


def test_power_can_be_cut_before_any_operation(fs):
    def cut(op, path):
        if (op, path) == ("sync", "/db/b"):
            fs.power_off()

    fs.on_op = cut
    put(fs, "/db/a", b"1")
    fs.sync_dir("/db")
    with pytest.raises(OSError, match="EIO"):
        put(fs, "/db/b", b"2")
    assert contents(fs.crash()) == {"a": b"1"}
    assert fs.ops["sync"] == 2


STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("ab"), st.integers(0, 12), st.binary(min_size=1, max_size=6)),
    st.tuples(st.just("truncate"), st.sampled_from("ab"), st.integers(0, 12)),
    st.tuples(st.just("sync"), st.sampled_from("ab")),
    st.tuples(st.just("rename"), st.sampled_from("ab"), st.sampled_from("ab")),
    st.tuples(st.just("unlink"), st.sampled_from("ab")),
    st.tuples(st.just("sync_dir")),
)


def perform(fs, step):
    op, *args = step
    if op == "sync_dir":
        fs.sync_dir("/db")
    elif op in ("rename", "unlink"):
        if fs.exists(f"/db/{args[0]}"):
            getattr(fs, op)(*[f"/db/{name}" for name in args])
    else:
        path = f"/db/{args[0]}"
        file = fs.open(path, "rw" if fs.exists(path) else "create")
        if op == "write":
            file.pwritev([args[2]], args[1])
        elif op == "truncate":
            file.truncate(args[1])
        else:
            file.sync()


@given(st.lists(STEP, max_size=25), st.integers(0, 1 << 30))
def test_nothing_survives_a_sync_of_everything_but_what_was_there(steps, seed):
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    fs.sync_dir("/")
    for step in steps:
        perform(fs, step)
    seen = contents(fs)
    for name in seen:
        fs.open(f"/db/{name}").sync()
    fs.sync_dir("/db")
    assert contents(fs.crash(seeded(seed))) == contents(fs.crash()) == seen
    assert fs.unsynced_files() == 0


@given(st.lists(STEP, max_size=25), st.integers(0, 1 << 30))
def test_what_survives_was_once_written_there(steps, seed):
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    fs.sync_dir("/")
    possible = {0}
    for step in steps:
        perform(fs, step)
        possible |= set(b"".join(contents(fs).values()))
    for left in (contents(fs.crash(seeded(seed))), contents(fs.crash())):
        assert set(left) <= {"a", "b"}
        assert set(b"".join(left.values())) <= possible


# -- space


def test_full_disk_takes_what_fits_then_refuses_and_deleting_helps():
    fs = MemoryFileSystem(capacity_bytes=3 * 4096)
    file = fs.open("/a", "create")
    assert file.pwritev([b"x" * 10_000], 0) == 10_000
    assert file.pwritev([b"y" * 10_000], 10_000) == 3 * 4096 - 10_000
    with pytest.raises(OSError, match="ENOSPC"):
        file.pwritev([b"z"], 3 * 4096)
    assert file.pwritev([b"over"], 0) == 4
    assert fs.free_bytes("/") == 0
    fs.unlink("/a")
    assert fs.free_bytes("/") == 0, "still open"
    file.close()
    assert (fs.free_bytes("/"), fs.used_bytes(), fs.total_bytes()) == (3 * 4096, 0, 0)


def test_reservation_charges_at_once_or_changes_nothing():
    fs = MemoryFileSystem(capacity_bytes=4 * 4096)
    file = fs.open("/a", "create")
    file.allocate(2 * 4096)
    assert (fs.used_bytes(), file.size()) == (2 * 4096, 2 * 4096)
    with pytest.raises(OSError, match="ENOSPC"):
        file.allocate(5 * 4096)
    assert (fs.used_bytes(), file.size()) == (2 * 4096, 2 * 4096)
    other = fs.open("/b", "create")
    assert other.pwritev([b"x" * 4096 * 3], 0) == 2 * 4096
    assert file.pwritev([b"x" * 4096 * 2], 0) == 2 * 4096
    file.truncate(1)
    assert fs.used_bytes() == 3 * 4096


def test_holes_are_free_and_replaced_files_give_their_space_back():
    fs = MemoryFileSystem(capacity_bytes=2 * 4096)
    file = fs.open("/a", "create")
    file.truncate(1 << 20)
    assert fs.used_bytes() == 0
    file.pwritev([b"end"], (1 << 20) - 3)
    fs.open("/b", "create").pwritev([b"x"], 0)
    assert fs.used_bytes() == 2 * 4096
    fs.rename("/b", "/a")
    file.close()
    assert fs.used_bytes() == 4096


def test_total_bytes_counts_below_a_prefix_once(fs):
    put(fs, "/db/a", b"12345")
    fs.link("/db/a", "/db/b")
    put(fs, "/c", b"1")
    assert (fs.total_bytes("/db"), fs.total_bytes()) == (5, 6)


# -- direct I/O


def test_direct_file_refuses_what_is_not_aligned(fs):
    file = fs.open("/db/a", "create", direct=True)
    page = mmap.mmap(-1, 8192)
    view = memoryview(page)
    assert file.pwritev([view], 4096) == 8192
    assert file.preadv([view[:4096]], 4096) == 4096
    for buffer, offset in [(view, 512), (view[:100], 0), (view[8:4104], 0)]:
        with pytest.raises(OSError, match="EINVAL"):
            file.pwritev([buffer], offset)
    with pytest.raises(OSError, match="EINVAL"):
        file.pread(4096, 0)
    assert file.direct


def test_disk_without_direct_files_refuses_them():
    fs = MemoryFileSystem(direct=False)
    with pytest.raises(OSError, match="EINVAL"):
        fs.open("/a", "create", direct=True)
