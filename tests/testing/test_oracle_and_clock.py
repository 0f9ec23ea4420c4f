"""The oracle knows the right answers, and which states a crash may leave; the manual clock moves when told."""

import pytest

from lsmkv.env.clock import Clock
from lsmkv.testing import DictOracle, ManualClock


def test_answers():
    oracle = DictOracle()
    oracle.put(b"a", b"1")
    oracle.write([(b"b", b"2"), (b"ab", b"3"), (b"a", None)])
    snapshot = oracle.snapshot()
    oracle.delete(b"b")
    assert (oracle.get(b"b"), snapshot.get(b"b")) == (None, b"2")
    assert snapshot.get_many([b"a", b"b", b"zz"]) == [None, b"2", None]
    assert snapshot.scan() == [(b"ab", b"3"), (b"b", b"2")]
    assert snapshot.scan(reverse=True) == [(b"b", b"2"), (b"ab", b"3")]
    assert snapshot.scan(prefix=b"a") == [(b"ab", b"3")]
    assert snapshot.scan(b"ab", b"b") == [(b"ab", b"3")]


def test_crash_may_lose_unsynced_commits_from_the_end_only():
    def after_three():
        oracle = DictOracle()
        oracle.put(b"a", b"1")
        oracle.sync()
        oracle.put(b"b", b"2")
        oracle.write([(b"c", b"3"), (b"a", None)])
        return oracle

    for lost, found in enumerate([{b"b": b"2", b"c": b"3"}, {b"a": b"1", b"b": b"2"}, {b"a": b"1"}]):
        oracle = after_three()
        assert oracle.crash(found) == lost
        assert oracle.contents == found
        assert oracle.crash(found) == 0
    for wrong in [{}, {b"a": b"1", b"c": b"3"}, {b"b": b"2"}, {b"b": b"2", b"c": b"3", b"d": b"4"}]:
        with pytest.raises(AssertionError, match="no prefix of the commits"):
            after_three().crash(wrong)


def test_clock_moves_only_when_told():
    clock = ManualClock(5.0, wall=1000.0)
    typed: Clock = clock
    assert (typed.monotonic(), typed.now()) == (5.0, 1000.0)
    clock.advance(2)
    typed.sleep(3)
    assert (typed.monotonic(), typed.now(), clock.slept) == (10.0, 1005.0, [3])
    with pytest.raises(AssertionError):
        clock.advance(-1)
