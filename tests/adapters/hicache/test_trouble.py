"""Whatever the disk does, the server starts, no call raises, and what is told is true."""

from __future__ import annotations

import errno
import threading

import pytest

from lsmkv.testing import FailOp, Hang, ManualClock
from lsmkv_tensor.adapters.sglang import LsmkvHiCache
from lsmkv_tensor.adapters.versions import require_version
from lsmkv_tensor.errors import InvalidArgumentError, PoisonedError
from tests.adapters.hicache.conftest import SEGMENT, load, store
from tests.adapters.hicache.fakes import HostPool, PoolTransfer, WholePagePool, keys, slots
from tests.tensor_runtime.conftest import Call

# who has the directory


def test_a_second_server_reads_and_takes_over_when_the_first_leaves(server):
    """A rolling restart: the new one starts while the old one still holds the directory."""
    old = server.start(HostPool().fill())
    store(old, range(3))
    new = server.start(HostPool().fill())
    assert new.holding.state == "following"
    assert "/kv/tp0of1" in new.holding.reason
    assert load(new, range(4)) == [True] * 3 + [False]
    assert store(new, range(5)) == [True] * 5, "SGLang would give the rest of the operation up"
    assert (new.meter.declined_pages, new.batch_exists(keys(range(5)))) == (5, 3)
    old.close()
    assert store(new, range(5)) == [True] * 5, "a second must pass between attempts"
    assert new.holding.state == "following"
    server.clock.advance(1.5)
    assert store(new, range(5)) == [True] * 5
    assert (new.holding.state, new.holding.reason) == ("own", None)
    assert (new.meter.declined_pages, new.batch_exists(keys(range(5)))) == (10, 5)


def test_a_server_that_waits_gets_the_directory(server):
    old = server.start()

    class Leaving(ManualClock):
        """The old server leaves while the new one waits."""

        def sleep(self, seconds):
            old.close()
            super().sleep(seconds)

    server.clock = Leaving()
    assert server.start(conflict_wait_s=5.0).holding.state == "own"


def test_a_fresh_directory_beside_one_that_is_held(server):
    old = server.start(HostPool().fill())
    store(old, range(3))
    new = server.start(HostPool().fill(), on_conflict="fresh")
    assert (new.holding.state, new.holding.member) == ("own", "tp0of1.2")
    assert store(new, range(4)) == [True] * 4
    assert new.holding.store.stats().put_pages == 1, "the rest is at the sibling"


@pytest.mark.parametrize("conflict", ["wait", "follow", "fresh"])
@pytest.mark.parametrize("damage", [b"\xff" * 4, b""])
def test_a_directory_that_is_damaged_or_cannot_be_read_stops_no_server(server, conflict, damage):
    first = server.start(HostPool().fill())
    store(first, range(2))
    first.close()
    if damage:
        stamp = server.fs.open("/kv/tp0of1/STORE", "rw")
        stamp.pwritev([damage], 0)
        stamp.close()
    else:
        server.fs.add(FailOp("open", path="/kv/tp0of1/*"))
    backend = server.start(HostPool().fill(), on_conflict=conflict)
    assert backend.holding.state == ("own" if conflict == "fresh" else "following")
    assert load(backend, range(1)) == [False]
    assert store(backend, range(3)) == [True] * 3
    assert backend.batch_exists(keys(range(3))) == (3 if conflict == "fresh" else 0)


def ended(name):
    """The threads of this name have ended."""
    for thread in [t for t in threading.enumerate() if t.name == name]:
        thread.join(60)
        assert not thread.is_alive()


def test_taking_a_directory_over_keeps_no_put_waiting(server):
    """The put that found the directory free opened it, however long that took."""
    old = server.start(HostPool().fill())
    new = server.start(HostPool().fill(), threads=True)
    old.close()
    server.clock.advance(1.5)
    rule = server.fs.add(Hang("open", path="/kv/tp0of1/*"))
    call = Call(lambda: store(new, range(2)))
    assert rule.reached.wait(60)
    assert call.result() == [True] * 2
    assert (new.holding.state, new.meter.declined_pages) == ("following", 2)
    server.clock.advance(1.5)
    assert store(new, range(2)) == [True] * 2, "one attempt at a time"
    server.fs.clear()
    rule.event.set()
    ended("lsmkv-claim")
    assert store(new, range(2)) == [True] * 2
    assert (new.holding.state, new.meter.written_pages, new.batch_exists(keys(range(2)))) == ("own", 2, 2)


def test_a_disk_that_hangs_when_the_server_starts_does_not_stop_it(server):
    rule = server.fs.add(Hang("lock"))
    starting = Call(lambda: server.start(HostPool().fill(), threads=True))
    assert rule.reached.wait(60)
    server.clock.advance(31)
    backend = starting.result()
    assert backend.holding.state == "off"
    assert "takes longer than 30 s" in backend.holding.reason
    assert store(backend, range(2)) == [True] * 2
    assert load(backend, range(2)) == [False] * 2
    server.fs.clear()
    rule.event.set()
    assert backend.holding._in_time.wait(60)
    assert store(backend, range(2)) == [True] * 2
    assert (backend.holding.state, backend.meter.declined_pages, backend.meter.written_pages) == ("own", 2, 2)


def test_a_server_that_left_while_its_directory_was_opened_holds_nothing(server):
    rule = server.fs.add(Hang("lock"))
    starting = Call(lambda: server.start(threads=True))
    assert rule.reached.wait(60)
    server.clock.advance(31)
    backend = starting.result()
    backend.close()
    server.fs.clear()
    rule.event.set()
    assert backend.holding._in_time.wait(60)
    assert (backend.holding.state, backend.holding.store) == ("closed", None)
    assert server.start().holding.state == "own", "the directory is free"


@pytest.mark.parametrize("call", ["close", "clear"])
def test_closing_and_clearing_are_back_in_time_and_go_on(server, call):
    backend = server.start(HostPool().fill(), io_timeout_s=4.0)
    store(backend, range(2))
    rule = server.fs.add(Hang("sync", path="/kv/*"))
    leaving = Call(getattr(backend, call))
    assert rule.reached.wait(60)
    server.clock.advance(5)
    assert not leaving.result()
    assert backend.meter.errors == {call: 1}
    server.fs.clear()
    rule.event.set()
    assert backend._bounded.wait(60)
    assert backend.batch_exists(keys(range(2))) == 0
    assert backend.holding.state == ("closed" if call == "close" else "own")


# calls that fail


def test_no_call_raises_on_a_failing_disk(server):
    backend = server.start(HostPool().fill(), breaker_failures=0)
    store(backend, range(3))
    for op in ("preadv", "pwritev", "pread", "sync", "open"):
        server.fs.add(FailOp(op))
    assert load(backend, range(3)) == [False] * 3
    assert store(backend, range(3, 6)) == [False] * 3
    backend.clear()
    assert backend.get_stats() is None


def test_a_poisoned_store_declines_and_comes_back_by_itself(server):
    backend = server.start(HostPool().fill())
    store(backend, range(3))
    backend.holding.store.sync()
    server.fs.add(FailOp("sync", path="*.seg", times=1))
    store(backend, range(3, 5))
    with pytest.raises(PoisonedError):
        backend.holding.store.sync()
    assert load(backend, range(3)) == [True] * 3
    assert store(backend, range(5, 7)) == [False] * 2
    backend.holding.store.step()
    assert store(backend, range(5, 7)) == [True] * 2
    assert load(backend, [0, 1, 2, 5, 6]) == [True] * 5
    assert backend.meter.errors == {}


def test_a_full_disk_is_a_false_and_no_failure(server):
    backend = server.start(HostPool().fill())
    server.fs.add(FailOp("allocate", path="*.seg", errno=errno.ENOSPC))
    assert store(backend, range(2)) == [False] * 2
    assert backend.meter.errors == {}
    assert backend.meter.failed_pages == 2
    server.fs.clear()
    assert store(backend, range(2)) == [True] * 2


def written(backend):
    """The store's worker has written what waited."""
    while backend.holding.store.step():
        pass


def test_pages_that_found_no_room_after_their_call_count_as_failed_and_are_told(server, caplog):
    """They counted as written, and nothing said that the disk was full."""
    backend = server.start(HostPool().fill(), put_queue_bytes=1 << 20, io_timeout_s=4.0)
    server.fs.add(FailOp("allocate", path="*.seg", errno=errno.ENOSPC))
    for call in range(3):
        assert store(backend, range(2 * call, 2 * call + 2)) == [True] * 2, "they wait"
        written(backend)
    assert backend.meter.failed_pages == 6
    assert backend.batch_exists(keys(range(6))) == 0
    lines = [line for line in caplog.messages if "could not be written" in line]
    assert [line.split()[1] for line in lines] == ["2", "4"], "the first time, the second, the fourth"
    assert lines[0].endswith("lsmkv doctor /kv/tp0of1")
    server.fs.clear()
    assert store(backend, range(2)) == [True] * 2
    written(backend)
    assert (backend.batch_exists(keys(range(2))), backend.meter.failed_pages) == (2, 6)


def test_pages_that_admission_did_not_want_after_their_call_count_as_declined(server):
    """With a queue, which is how it comes, nobody counted them."""
    backend = server.start(HostPool().fill(), put_queue_bytes=1 << 20, io_timeout_s=4.0, admission="second")
    assert store(backend, range(3)) == [True] * 3
    written(backend)
    assert (backend.meter.declined_pages, backend.meter.failed_pages) == (3, 0)
    assert backend.batch_exists(keys(range(3))) == 0


def test_a_read_that_hangs_is_late(server):
    backend = server.start(HostPool().fill(), io_timeout_s=4.0)
    store(backend, range(2))
    rule = server.fs.add(Hang("preadv", path="*.seg"))
    call = Call(lambda: load(backend, range(2), [10, 11]))
    assert rule.reached.wait(60)
    server.clock.advance(5)
    assert call.result() == [False] * 2
    server.fs.clear()
    rule.event.set()
    assert load(backend, range(2)) == [True] * 2


def test_pages_that_admission_does_not_want_are_told_to_be_there_and_counted(server):
    backend = server.start(HostPool().fill(), admission="second")
    assert store(backend, range(3)) == [True] * 3
    assert (backend.meter.declined_pages, backend.meter.written_pages) == (3, 0)
    assert backend.batch_exists(keys(range(3))) == 0
    server.clock.advance(60)
    assert store(backend, range(3)) == [True] * 3
    assert backend.batch_exists(keys(range(3))) == 3
    assert (backend.meter.declined_pages, backend.meter.written_pages) == (3, 3)


def test_a_sidecar_whose_pages_no_segment_holds_is_one_that_holds_nothing(server):
    backend = server.start(HostPool().fill())
    backend.register_mem_host_pool_v2(WholePagePool(layers=1024), "mamba")
    transfer = [PoolTransfer("mamba", slots([0]), keys=keys([0]))]
    assert backend.batch_set_v2(transfer) == {"mamba": [False]}
    assert backend.batch_get_v2(transfer) == {"mamba": [False]}
    assert "register_mem_host_pool_v2" in backend.meter.errors


def test_calls_after_close_are_misses(server):
    backend = server.start(HostPool().fill())
    store(backend, range(2))
    backend.close()
    backend.close()
    assert load(backend, range(2)) == [False] * 2
    assert store(backend, range(2)) == [True] * 2
    assert backend.batch_exists(keys(range(2))) == 0
    assert backend.holding.state == "closed"


# what the command line says


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"path": ""}, "path"),
        ({"path": "~/kv"}, "from ./. on"),
        ({"path": "s3://bucket/kv"}, "from ./. on"),
        ({"member": ""}, "member"),
        ({"io_timeout_s": 1e-6}, "io_timeout_s.*0.05 to 9 seconds"),
        ({"io_timeout_s": 30}, "io_timeout_s.*0.05 to 9 seconds"),
        ({"eviction": "mq,foo=3"}, "foo"),
        ({"admission": "sometimes"}, "sometimes"),
        ({"capacity_bytes": 1e12 + 0.5}, "capacity_bytes"),
        ({"capacity": 5}, "'capacity'"),
        ({"capacity_bytes": "5"}, "capacity_bytes"),
        ({"on_conflict": "panic"}, "on_conflict"),
        ({"conflict_wait_s": -1}, "conflict_wait_s"),
        ({"codec": "int8"}, "codec"),
        ({"revision": 2}, "revision"),
        ({"eviction": "nothing"}, "nothing"),
        ({"segment_bytes": 2 * SEGMENT, "capacity_bytes": 1}, "capacity_bytes"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named_at_the_start(server, settings, named):
    with pytest.raises(InvalidArgumentError, match=named):
        server.start(**settings)


@pytest.mark.parametrize("settings", [{"eviction": "mq,foo=3"}, {"admission": "sometimes"}])
def test_a_wrong_setting_is_told_although_the_directory_cannot_be_had(server, settings):
    """It was told when the directory was taken over, hours later."""
    server.start()
    with pytest.raises(InvalidArgumentError):
        server.start(**settings)


def test_whole_numbers_may_be_written_as_json_writes_large_ones(server):
    assert server.start(capacity_bytes=2e6, put_queue_bytes=1e6).config.options.capacity_bytes == 2_000_000


def test_a_page_larger_than_the_queue_is_stored_all_the_same(server):
    backend = server.start(HostPool().fill(), put_queue_bytes=100, io_timeout_s=4.0)
    assert store(backend, range(3)) == [True] * 3
    assert backend.holding.store.stats().put_pages == 3


def test_settings_that_do_not_fit_the_directory_are_told_once_when_it_is_taken_over(server, caplog):
    server.fs.add(FailOp("mkdir", path="/kv/tp0of1*"))
    new = server.start(segment_bytes=2 * SEGMENT, capacity_bytes=4 << 20)
    server.fs.clear()
    server.start().close()
    for _ in range(3):
        server.clock.advance(1.5)
        assert store(new, [0]) == [True]
    assert "segment_bytes" in new.holding.reason
    assert sum("segment_bytes" in line for line in caplog.messages) == 1


def test_settings_that_are_missing_are_shown(server):
    config = server.place.config()
    config.extra_config = {"interface_v1": 1}
    with pytest.raises(InvalidArgumentError, match=r'"lsmkv": ."path"'):
        LsmkvHiCache(config, {})


def test_an_engine_of_another_version_is_refused_by_name():
    with pytest.raises(ImportError, match=r"numpy>=0\.1,<0\.2.*is installed"):
        require_version("numpy", "0.1", "0.2")
    with pytest.raises(ImportError, match="not installed: pip install 'no-such-engine>=1,<2'"):
        require_version("no-such-engine", "1", "2")
    assert require_version("numpy", "2.0", "9")
    assert require_version("no-such-engine", "2.0", "9", ("nor-this", "numpy")) == require_version("numpy", "2.0", "9")
