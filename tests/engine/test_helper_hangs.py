"""A helper process that says nothing for half a minute, stopped or hanging, does not keep its merge: that is done here."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from lsmkv.env.clock import SystemClock
from lsmkv.env.helper import Channel
from lsmkv.maintain.apart import SILENCE_S
from lsmkv.maintain.helper import ALIVE, SIGN_S, Signs
from lsmkv.testing import ManualClock
from tests.engine.test_helper_process import Files, ends, fill, helper_of, key, live, named, opened, table_files, value

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


class Leaping(SystemClock):
    """The machine's clock, and ahead of it: by ``leap_s`` more each time that it is asked."""

    def __init__(self) -> None:
        self.leap_s = 0.0
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        self.ahead_s += self.leap_s
        return super().monotonic() + self.ahead_s


def test_a_merge_does_not_wait_for_one_that_is_stopped(tmp_path: Path) -> None:
    """Writers waited for such a merge until they got a BusyError, and the store did not recover before it was closed."""

    def stop() -> None:
        os.kill(helper_of(db), signal.SIGSTOP)
        stopped.append(helper_of(db))
        clock.leap_s = 1.0

    clock, stopped = Leaping(), []
    files = Files(stop, 0)
    with opened(tmp_path / "db", fs=files, clock=clock) as db:
        contents = fill(db)
        files.after(3)
        db.compact()
        assert not db.stats().compactions_apart
        assert not db.stats().background_failures
        assert ends(stopped[0])
        assert list(db.scan()) == live(contents)
        assert table_files(tmp_path / "db") == named(db)
        clock.leap_s = 0.0
        changed = {key(n): value(n + 3) for n in range(0, 5000, 9)}
        db.put_many(changed.items())
        db.flush()
        db.compact()
        assert db.stats().compactions_apart == 1, "the next one has a process again"
        assert list(db.scan()) == live(contents | changed)


def test_time_in_which_nobody_ran_counts_for_little(tmp_path: Path) -> None:
    """As when a container is frozen and thawed: it was silent because this process was, too."""
    clock = Leaping()
    files = Files(lambda: setattr(clock, "ahead_s", clock.ahead_s + 100 * SILENCE_S), 0)
    with opened(tmp_path / "db", fs=files, clock=clock) as db:
        contents = fill(db)
        files.after(3)
        db.compact()
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)


def test_one_that_works_says_so_now_and_then() -> None:
    ours, theirs = socket.socketpair()
    here, there, clock = Channel(ours), Channel(theirs), ManualClock()
    signs = Signs(there, clock)
    try:
        for _ in range(5):
            signs.give()
        with pytest.raises(TimeoutError):
            here.receive(0)
        clock.advance(SIGN_S)
        for _ in range(5):
            signs.give()
        assert here.receive(0) == ALIVE
        with pytest.raises(TimeoutError):
            here.receive(0)
    finally:
        here.close()
        there.close()
    assert SIGN_S * 5 < SILENCE_S


class Speaking:
    """A channel whose other side says ``signs`` times that it lives, each time after most of what it may be silent."""

    def __init__(self, channel: Channel, clock: Leaping, signs: int) -> None:
        self._channel = channel
        self._clock = clock
        self._signs = signs

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def receive(self, timeout_s: float) -> object:
        if not self._signs:
            self._clock.leap_s = 0.0
            return self._channel.receive(timeout_s)
        self._clock.leap_s = 1.0
        if self._clock.monotonic() % (SILENCE_S - 5) >= 2:
            raise TimeoutError
        self._signs -= 1
        return ALIVE


def test_a_sign_of_life_is_no_answer_and_begins_the_wait_anew(tmp_path: Path) -> None:
    """However long a merge takes: only silence counts."""

    def speak() -> None:
        process = db._core.helping._process
        process.channel = speaking.setdefault("channel", Speaking(process.channel, clock, 4))

    clock, speaking = Leaping(), {}
    files = Files(speak, 0)
    with opened(tmp_path / "db", fs=files, clock=clock) as db:
        contents = fill(db)
        files.after(2)
        db.compact()
        assert clock.ahead_s > 2 * SILENCE_S
        assert db.stats().compactions_apart == 1
        assert list(db.scan()) == live(contents)
