"""What a caller may get wrong is refused by name, with InvalidArgumentError, before anything is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

import lsmkv
from lsmkv.errors import InvalidArgumentError
from lsmkv.framing import FRAME_BYTES, FRAME_OPS
from lsmkv.testing import ManualScheduler, MemoryFileSystem

NOT_PATHS = [None, b"/db", 7, object(), ["/db"], "", "/d\0b", Path]


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"/db"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("block_bytes", (1 << 30) + 1),
        ("block_bytes", 4096.0),
        ("filter_bits_per_key", float("inf")),
        ("filter_bits_per_key", float("nan")),
        ("filter_bits_per_key", 101),
        ("level0_runs", 2.5),
        ("level0_runs", True),
        ("level0_stop_runs", 24.0),
        ("create", 1),
        ("create", None),
        ("wal_sync_interval_s", 0.0),
        ("wal_sync_interval_s", 1e10),
        ("wal_sync_interval_s", float("inf")),
        ("wal_sync_interval_s", float("nan")),
        ("wal_sync_interval_s", "1"),
        ("stall_timeout_s", float("inf")),
        ("stall_timeout_s", -1),
        ("stall_timeout_s", 1e12),
        ("memtable_bytes", 1 << 70),
        ("policy", "leveled"),
        ("policy", lsmkv.Leveled),
        ("fs", object()),
        ("fs", MemoryFileSystem),
        ("clock", object()),
        ("rng", 7),
        ("scheduler", ManualScheduler),
        ("scheduler", "manual"),
    ],
)
def test_options_refuse_what_no_room_could_work_with(field, value):
    with pytest.raises(InvalidArgumentError, match=rf"Options\.{field} = "):
        lsmkv.Options(**{field: value})


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(lsmkv.Options)])
def test_options_say_none_is_allowed_where_it_is(field):
    with pytest.raises(InvalidArgumentError) as refused:
        lsmkv.Options(**{field: -1})
    try:
        lsmkv.Options(**{field: None})
    except InvalidArgumentError:
        assert ", or None" not in str(refused.value)
    else:
        assert ", or None" in str(refused.value) or field in {"policy", "fs", "clock", "rng", "scheduler"}


def test_options_name_the_method_that_is_missing():
    class Half:
        def monotonic(self) -> float:
            return 0.0

    with pytest.raises(InvalidArgumentError, match="must be a Clock, but it has no"):
        lsmkv.Options(clock=Half())  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("path", [*NOT_PATHS, BytesPath()])
def test_a_path_is_a_string_or_a_path_object(open_db, path):
    with pytest.raises(InvalidArgumentError, match="path"):
        open_db(path)
    with pytest.raises(InvalidArgumentError, match="path"):
        lsmkv.verify(path)
    with open_db() as db, pytest.raises(InvalidArgumentError, match="dest"):
        db.checkpoint(path)


def test_path_objects_are_paths(tmp_path):
    with lsmkv.open(tmp_path / "db") as db:
        assert db.path == str(tmp_path / "db")
        db.put(b"a", b"1")
        db.checkpoint(tmp_path / "copy")
    assert lsmkv.verify(tmp_path / "copy").ok
    with lsmkv.open(tmp_path / "copy") as db:
        assert db.get(b"a") == b"1"


@pytest.mark.parametrize("options", [{}, {"create": False}, "fast", lsmkv.Options])
def test_options_are_options(tmp_path, options):
    with pytest.raises(InvalidArgumentError, match=r"options must be an lsmkv\.Options or None, not"):
        lsmkv.open(tmp_path / "db", options)
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("batch", [None, [], [(b"a", b"1")], {b"a": b"1"}])
def test_write_takes_a_batch(open_db, batch):
    with open_db() as db, pytest.raises(InvalidArgumentError, match=r"write takes an lsmkv\.WriteBatch, not"):
        db.write(batch)


@pytest.mark.parametrize(
    ("pairs", "what"),
    [
        (None, "iterable of .* pairs, not NoneType"),
        (7, "iterable of .* pairs, not int"),
        ({b"a": b"1"}, r"d\.items\(\)"),
        ([(b"a", b"1"), None], "pairs, not NoneType"),
        ([(b"a", b"1"), (b"b",)], "not a tuple of 1"),
        ([(b"a", b"1"), (b"b", b"2", b"3")], "not a tuple of 3"),
        ([(b"a", b"1", b"2"), (b"b", b"2", b"3")], "not a tuple of 3"),
        ([(b"a",)], "not a tuple of 1"),
        ([()], "not a tuple of 0"),
        ([b"ab", b"cd"], "pairs, not bytes"),
        (["ab"], "pairs, not str"),
        (b"ab", "pairs, not int"),
        ([(b"a", None)], "value must be bytes, not NoneType"),
        ([(b"a", "1")], "value must be bytes, not str"),
        ([("a", b"1")], "key must be bytes, not str"),
        ([(bytearray(b"a"), b"1")], "key must be bytes, not bytearray"),
    ],
)
def test_put_many_takes_pairs(open_db, pairs, what):
    with open_db() as db:
        with pytest.raises(InvalidArgumentError, match=what):
            db.put_many(pairs)
        if isinstance(pairs, list):
            with pytest.raises(InvalidArgumentError, match=what):
                db.put_many(pair for pair in pairs)
            with pytest.raises(InvalidArgumentError, match=what):
                db.put_many([(b"x", b"y")] * FRAME_OPS + pairs)
        assert db.get(b"a") is None


@pytest.mark.parametrize(
    ("keys", "what"), [(None, "not NoneType"), (7, "not int"), ("ab", "key must be bytes, not str"), ([None], "not None")]
)
def test_many_keys_are_an_iterable_of_bytes(open_db, keys, what):
    with open_db() as db, db.snapshot() as snapshot:
        for call in (db.get_many, db.contains_many, db.delete_many, snapshot.get_many, snapshot.contains_many):
            with pytest.raises(InvalidArgumentError, match=what):
                call(keys)


@pytest.mark.parametrize("at", [0, 5, 19])
@pytest.mark.parametrize("kind", [memoryview, bytearray, str, type(None)])
def test_one_among_many_that_is_no_bytes(open_db, memory_fs, kind, at):
    """Writes refuse it and nothing of them is logged; reads refuse it or look for the key it equals."""
    keys = [b"%03d" % n for n in range(20)]
    bad = list(keys)
    bad[at] = {str: "005", type(None): None}[kind] if kind in (str, type(None)) else kind(keys[at])
    with open_db() as db:
        db.put_many([(key, b"value") for key in keys])
        for call in (
            lambda: db.put_many([(key, b"other") for key in bad]),
            lambda: db.put_many([(key, value) for key, value in zip(keys, bad, strict=True)]),
            lambda: db.delete_many(bad),
        ):
            with pytest.raises(InvalidArgumentError, match=f"must be bytes, not {kind.__name__}"):
                call()
        for flushed in (False, True):
            if flushed:
                db.flush()
                db.settle()
            for call in (db.get_many, db.contains_many):
                try:
                    assert all(call(bad))
                    assert kind is bytearray
                except InvalidArgumentError as error:
                    assert f"not {kind.__name__}" in str(error)  # noqa: PT017 - either is right
    with open_db(fs=memory_fs) as db:
        assert db.get_many(keys) == [b"value"] * 20


@pytest.mark.parametrize("kind", [memoryview, bytearray, str, type(None)])
def test_get_refuses_what_only_equals_a_key(open_db, kind):
    key = {str: "key", type(None): None}.get(kind) if kind in (str, type(None)) else kind(b"key")
    with open_db() as db:
        for _ in range(2):  # absent, then in the active memtable
            with pytest.raises(InvalidArgumentError, match=f"key must be bytes, not {kind.__name__}"):
                db.get(key)
            db.put(b"key", b"value")


def test_reads_of_many_take_generators(open_db):
    with open_db() as db:
        db.put_many({b"a": b"1", b"b": b"2"}.items())
        with db.snapshot() as snapshot:
            db.delete_many(k for k in (b"a",))
            for view, expected in ((db, [False, True]), (snapshot, [True, True])):
                assert view.contains_many(k for k in (b"a", b"b")).tolist() == expected
            assert snapshot.get_many(k for k in (b"a", b"b")) == [b"1", b"2"]


def test_a_closed_store_refuses_even_nothing(open_db):
    db = open_db()
    db.close()
    for call in (
        lambda: db.put_many([]),
        lambda: db.put_many(iter(())),
        lambda: db.delete_many([]),
        lambda: db.write(lsmkv.WriteBatch()),
        lambda: db.get_many([]),
        lambda: db.contains_many([]),
        lambda: db.count_leading([]),
    ):
        with pytest.raises(lsmkv.ClosedError):
            call()


def test_a_stream_is_drawn_a_frame_at_a_time_and_full_frames_stay(open_db):
    """Small pairs: 4,096 a frame. A pair is drawn only when the frames before it are stored."""
    with open_db(memtable_bytes=1 << 20) as db:

        def pairs() -> Iterator[tuple[bytes, bytes]]:
            for i in range(3 * FRAME_OPS):
                if i == 2 * FRAME_OPS:
                    assert db.get(b"%06d" % (i - 1)) == b"v"
                    raise RuntimeError(i)
                yield b"%06d" % i, b"v"

        with pytest.raises(RuntimeError, match=str(2 * FRAME_OPS)):
            db.put_many(pairs())
        assert sum(1 for _ in db.scan()) == 2 * FRAME_OPS


def test_a_stream_of_large_values_is_not_gathered_in_memory(open_db):
    """One MiB a pair: no more than a frame and one pair are drawn ahead of what is stored."""
    ahead: list[int] = []
    with open_db(memtable_bytes=64 << 20) as db:

        def pairs() -> Iterator[tuple[bytes, bytes]]:
            for i in range(20):
                ahead.append(i - sum(1 for _ in db.scan()))
                yield b"%06d" % i, bytes(1 << 20)

        db.put_many(pairs())
        assert sum(1 for _ in db.scan()) == 20
    assert max(ahead) <= FRAME_BYTES >> 20


@pytest.mark.parametrize("make", [list, tuple, iter])
def test_frames_are_bounded_in_bytes(open_db, memory_fs, make):
    keys = [b"%04d" % i + bytes(60 << 10) for i in range(200)]
    with open_db(memtable_bytes=64 << 20) as db:
        sizes: list[int] = []
        commit = db._committer.commit

        def watched(frame, sync):
            assert frame.nbytes == sum(map(len, frame.keys)) + sum(len(v) for v in frame.values if v is not None)
            assert len(frame.keys) == len(frame.values)
            sizes.append(frame.nbytes)
            commit(frame, sync)

        db._committer.commit = watched
        db.put_many(make([(k, b"v") for k in keys]), sync=True)
        assert db.contains_many(keys).all()
        db.delete_many(make(keys), sync=True)
        assert not db.contains_many(keys).any()
        assert len(sizes) >= 4
        assert max(sizes) <= FRAME_BYTES
        assert sum(sizes) == 2 * sum(map(len, keys)) + len(keys)
        crashed = memory_fs.crash()
    with open_db(fs=crashed) as db:
        assert sum(1 for _ in db.scan()) == 0


def test_many_writes_are_durable_when_asked(open_db, memory_fs):
    with open_db(memtable_bytes=1 << 20) as db:
        for at, make in enumerate((list, iter)):
            db.put_many(make([(b"%d%06d" % (at, i), b"v") for i in range(FRAME_OPS + 1)]), sync=True)
        crashed = memory_fs.crash()
    with open_db(fs=crashed, memtable_bytes=1 << 20) as db:
        assert sum(1 for _ in db.scan()) == 2 * (FRAME_OPS + 1)


def test_many_deletes_in_a_batch_are_checked_and_counted_as_one_by_one():
    one, many = lsmkv.WriteBatch(), lsmkv.WriteBatch()
    for key in (b"a", b"", b"a", b"z" * 100):
        one.delete(key)
    many.delete_many(key for key in (b"a", b"", b"a", b"z" * 100))
    assert (many.keys, many.values, many.nbytes) == (one.keys, one.values, one.nbytes)
    assert len(many.delete_many([])) == 4
    for bad in (["text"], [b"fine", bytearray(b"x")], [b"x" * (65 << 10)]):
        with pytest.raises(InvalidArgumentError, match="key"):
            many.delete_many(bad)
        assert len(many) == 4
