"""The engine's machine with a follower beside it: what that shows is a prefix of the commits, and never an older one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, invariant, rule

import lsmkv
from lsmkv.env.rng import seeded
from property_tests.test_engine_machine import EngineMachine, bounds, keys, values


class FollowerMachine(EngineMachine):
    """Every rule of the engine, and a follower that looks now and then, reads at any time, and holds snapshots."""

    moments = Bundle("moments")
    follower = None
    followed = None
    seen = 0

    def follow(self) -> lsmkv.Follower:
        """The follower; a new one after a power cut, which took the process, too."""
        if self.followed is not self.fs:
            options = lsmkv.Options(fs=self.fs, rng=seeded(0), refresh_s=None, max_open_tables=3, block_cache_bytes=4096)
            self.follower = lsmkv.open("/db", options, read_only=True)
            self.followed = self.fs
            self.known = self.history
            self.seen = len(self.history) - 1
            for moment in self.kept:
                moment[0] = None
        return self.follower

    @property
    def kept(self) -> list[list]:
        """Snapshots of the follower."""
        return self.__dict__.setdefault("_kept", [])

    def expect(self, got: dict[bytes, bytes]) -> None:
        """``got`` is a state of the store, not older than what was shown before."""
        at = next((i for i in range(self.seen, len(self.history)) if self.history[i] == got), None)
        assert at is not None, "not the effect of any prefix of the commits since the last look"
        self.seen = at

    @rule(wanted=st.lists(keys, max_size=10))
    def look(self, wanted):
        follower = self.follow()
        follower.refresh()
        assert dict(follower.scan()) == self.model
        assert follower.get_many(wanted) == [self.model.get(key) for key in wanted]
        assert [follower.get(key) for key in wanted] == [self.model.get(key) for key in wanted]
        assert follower.contains_many(wanted).tolist() == [key in self.model for key in wanted]
        self.seen = len(self.history) - 1
        assert not follower.refresh()
        follower.check()
        for snapshot, shown in self.kept:
            assert snapshot is None or dict(snapshot.scan()) == shown

    @rule()
    def read_without_looking(self):
        self.expect(dict(self.follow().scan()))

    @rule(start=bounds, stop=bounds, prefix=st.none() | st.binary(max_size=2), reverse=st.booleans())
    def scan_after_looking(self, start, stop, prefix, reverse):
        follower = self.follow()
        follower.refresh()
        self.seen = len(self.history) - 1
        got = list(follower.scan(start, stop, prefix=prefix, reverse=reverse))
        assert got == self.select(self.model, start, stop, prefix, reverse)

    @rule(target=moments)
    def hold(self):
        snapshot = self.follow().snapshot()
        shown = dict(snapshot.scan())
        self.expect(shown)
        self.kept.append(moment := [snapshot, shown])
        return moment

    @rule(ops=st.lists(st.tuples(keys, st.none() | values), max_size=5), over=st.integers(1, 5), sync=st.booleans())
    def commit_beside_a_moment(self, ops, over, sync):
        """What is shown is overwritten while somebody holds it, most often in the same log."""
        with self.follow().snapshot() as snapshot:
            shown = dict(snapshot.scan())
            self.expect(shown)
            self.batch([*ops, *((key, b"over") for key in sorted(shown)[:over])], sync)
            self.follower.refresh()
            assert dict(snapshot.scan()) == shown
            assert snapshot.get_many(list(shown)) == list(shown.values())
            assert dict(self.follower.scan()) == self.model
            self.seen = len(self.history) - 1

    @rule(moment=moments, wanted=st.lists(keys, max_size=10), reverse=st.booleans())
    def read_moment(self, moment, wanted, reverse):
        self.follow()
        snapshot, shown = moment
        if snapshot is not None:
            assert snapshot.get_many(wanted) == [shown.get(key) for key in wanted]
            assert [snapshot.get(key) for key in wanted] == [shown.get(key) for key in wanted]
            assert list(snapshot.scan(reverse=reverse)) == sorted(shown.items(), reverse=reverse)

    @rule(moment=consumes(moments))
    def let_go(self, moment):
        if moment[0] is not None:
            moment[0].close()
            moment[0] = None

    @invariant()
    def history_goes_on(self):
        if self.followed is not None and self.followed is self.fs:
            assert self.known is self.history, "only a power cut rewrites history"

    def teardown(self):
        if self.follower is not None:
            self.follower.close()
        super().teardown()


FollowerMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestFollower = FollowerMachine.TestCase
