"""Readers in other threads go on while a follower looks: between any two of its steps they see a prefix of the commits."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

KEYS = [b"%02d" % i for i in range(12)]
indices = st.integers(0, len(KEYS) - 1)
steps = st.one_of(
    st.tuples(st.just("put"), indices),
    st.tuples(st.just("put"), indices),
    st.tuples(st.just("load"), st.sets(indices, min_size=1, max_size=4)),
    st.tuples(st.just("range"), indices),
    st.tuples(st.sampled_from(["flush", "settle", "look", "from scratch"])),
)


def between_lines(do: Callable[[], object], look: Callable[[], None]) -> None:
    """Call ``look`` before every line of the follower's modules that ``do`` comes to."""

    def trace(frame, event, arg):
        del arg
        if "/lsmkv/follow/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            sys.settrace(None)
            try:
                look()
            finally:
                sys.settrace(trace)
        return trace

    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(None)


def told(program: list[tuple]) -> None:
    """Play a program; whoever reads at any line of a look sees what some prefix of it leaves, and never an older one."""
    fs, history = MemoryFileSystem(), [dict.fromkeys(KEYS)]
    own = {"memtable_bytes": 1024, "table_bytes": 1024, "level0_runs": 1, "range_delete_keys": 0}
    db = lsmkv.open("/db", lsmkv.Options(fs=fs, rng=seeded(1), scheduler=ManualScheduler(), **own))
    follower = lsmkv.open("/db", lsmkv.Options(fs=fs, rng=seeded(2), refresh_s=None), read_only=True)
    seen = 0

    def look() -> None:
        nonlocal seen
        got = dict(zip(KEYS, follower.get_many(KEYS), strict=True))
        at = next((i for i in range(seen, len(history)) if history[i] == got), None)
        assert at is not None, f"no prefix of the commits leaves {got}"
        seen = at

    for number, (what, *which) in enumerate([*program, ("look",)]):
        now, value = dict(history[-1]), b"%d" % number
        if what == "put":
            now[KEYS[which[0]]] = value
            db.put(KEYS[which[0]], value)
        elif what == "load":
            pairs = {KEYS[i]: value for i in sorted(which[0])}
            now |= pairs
            db.load_sorted(pairs.items())
        elif what == "range":
            start, stop = KEYS[which[0]], KEYS[min(which[0] + 3, len(KEYS) - 1)] + b"\xff"
            now = {key: None if start <= key < stop else old for key, old in now.items()}
            db.delete_range(start, stop)
        elif what == "flush":
            db.flush()
        elif what == "settle":
            db.settle()
        else:
            if what == "from scratch":
                follower._from_scratch()
            between_lines(follower.refresh, look)
            look()
            assert history[seen] == history[-1]
        history.append(now)
    follower.close()
    db.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_between_any_two_lines_of_a_look_a_prefix_shows(program):
    told(program)


def test_a_load_shows_before_what_was_put_after_it():
    told([("look",), ("load", {1, 2}), ("put", 5), ("look",), ("load", {3}), ("range", 1), ("put", 2)])


def in_the_middle(read: Callable[[], object], then: Callable[[], object]) -> object:
    """What ``read``, a batch of reads, gives if ``then`` is done when it has found out what to read from."""

    def trace(frame, event, arg):
        del arg
        if event == "call" and frame.f_code.co_qualname == "find_many":
            sys.settrace(None)
            then()

    sys.settrace(trace)
    try:
        return read()
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("beside", [False, True])
def test_a_batch_of_reads_shows_no_put_without_the_load_before_it(beside):
    fs = MemoryFileSystem()
    with lsmkv.open("/db", lsmkv.Options(fs=fs, rng=seeded(1), scheduler=ManualScheduler())) as db:
        follower = lsmkv.open("/db", lsmkv.Options(fs=fs, rng=seeded(2), refresh_s=None), read_only=True)
        reader = follower if beside else db

        def meanwhile() -> None:
            db.load_sorted([(b"loaded", b"1")])
            db.put(b"put after", b"2")
            follower.refresh()

        assert in_the_middle(lambda: reader.get_many([b"loaded", b"put after"]), meanwhile) == [None, None]
        assert reader.get_many([b"loaded", b"put after"]) == [b"1", b"2"]
        follower.close()
