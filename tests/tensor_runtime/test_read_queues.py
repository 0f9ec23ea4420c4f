"""Queues that are lent: where a system has none, and when nobody needs them any more."""

from __future__ import annotations

import errno
from threading import Thread

import pytest

from lsmkv.testing import MemoryFileSystem
from lsmkv_tensor.vlog.queues import ReadQueues
from lsmkv_tensor.vlog.staging import StagingPool


class Refusing(MemoryFileSystem):
    """A system that has queues, but none left."""

    def read_queue(self, depth):
        del depth


class Slow:
    """A queue with one read under way, until it is told that it has ended."""

    waiting = 1
    answers = False
    closed = False

    def ended(self, least, seconds):
        del least, seconds
        self.waiting = 0 if self.answers else 1
        return []

    def close(self):
        self.closed = True


def test_calls_that_find_together_that_there_are_no_queues_go_on_without():
    queues, found = ReadQueues(Refusing(queues=True)), []
    threads = [Thread(target=lambda: found.append(queues.take())) for _ in range(2)]
    with queues._lock:  # both have seen that there may be some
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.05)
    for thread in threads:
        thread.join()
    assert found == [None, None]
    assert not queues.usable


def test_a_read_that_was_left_and_has_ended_keeps_no_queue_when_the_store_is_closed():
    queues = ReadQueues(MemoryFileSystem(queues=True))
    ended, hangs = Slow(), Slow()
    for queue in (ended, hangs):
        queues.leave(queue, queues.staging.take(4096))
    ended.answers = True
    queues.close()
    assert (ended.closed, hangs.closed) == (True, False)
    assert queues.left == 1


def test_a_queue_of_which_the_system_does_not_tell_hangs_on_and_is_no_hindrance():
    class Mute(Slow):
        def ended(self, least, seconds):
            raise OSError(errno.EINVAL, "no such context")

    queues = ReadQueues(MemoryFileSystem(queues=True))
    queues.leave(Mute(), queues.staging.take(4096))
    assert queues.left == 1
    assert queues.take() is not None


def test_memory_that_is_not_to_be_had_is_not_lent():
    pool = StagingPool(1 << 20, huge=True)
    with pytest.raises(OSError, match="allocate"):
        pool.take(1 << 60)
    assert pool.lent_bytes == 0
