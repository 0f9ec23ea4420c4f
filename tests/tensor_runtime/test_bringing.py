"""What is read again is left in the page cache, as long as it pays."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.vlog.bringing import GRANULE, LEND_ONE_IN, MOST_LENT, MOST_TRUST, TRUST, TRY_ONE_IN, Bringing

PAGE = 1 << GRANULE


def read(bringing, page, cache, *, stays, size=PAGE):
    """Read a page as a store does; whether it came past the cache. They lie end to end, and not as the pieces do."""
    at = (1, 1, page * size + 8192, size)
    if page in cache:
        if bringing.doubted:
            bringing.found(*at)
        return False
    first = bringing.past(*at, settled=False)
    if not first:
        assert not bringing.past(*at, settled=True), "whoever is asked next says the same"
        if stays:
            cache.add(page)
    return first


def test_a_first_read_is_one_until_most_of_its_place_was_read():
    first = Bringing()
    assert first.past(1, 1, PAGE // 2, 4 * PAGE, settled=True)
    assert first.past(1, 1, PAGE // 2 + 4 * PAGE, 4 * PAGE, settled=True)  # its neighbour
    assert first.past(2, 1, PAGE // 2, 4 * PAGE, settled=True)
    assert not first.past(1, 1, PAGE // 2, 4 * PAGE, settled=False)
    assert not first.past(1, 1, PAGE // 2, 4 * PAGE, settled=True)
    assert first.past(1, 1, PAGE // 2, 4 * PAGE, settled=True)
    assert first.past(1, 2, PAGE // 2, 4 * PAGE, settled=True)  # another generation


def test_where_nothing_stays_a_second_read_in_a_few_is_brought_all_the_same():
    bringing = Bringing()
    brought = [not read(bringing, page, set(), stays=False) for _ in range(40) for page in range(8)]
    assert sum(brought[: 8 * 3]) == 8, "until it is known"
    assert 0 < sum(brought[8 * 6 :]) <= len(brought[8 * 6 :]) // TRY_ONE_IN + 1


@pytest.mark.parametrize("size", [PAGE, 5 << 13, 64 << 10, 260 << 10])
def test_neighbours_are_not_taken_for_each_other(size):
    """Whatever their order: what was brought beside a page is no page that has gone from the cache."""
    bringing, cache, pages = Bringing(), set(), list(range(200))
    random.Random(1).shuffle(pages)
    assert all(read(bringing, page, cache, stays=True, size=size) for page in pages)
    assert not any(read(bringing, page, cache, stays=True, size=size) for page in reversed(pages))
    assert cache == set(pages)


def test_several_neighbours_at_once_are_the_same_places_as_one_by_one():
    bringing = Bringing()
    for page in range(8):
        assert bringing.past(1, 1, 8192 + page * PAGE, PAGE, settled=True)
    assert not bringing.past(1, 1, 8192, 8 * PAGE, settled=True)
    for page in range(8):
        bringing.found(1, 1, 8192 + page * PAGE, PAGE)
    assert not bringing._of(1, 1).brought & ~bringing._of(1, 1).found


def test_two_places_of_which_one_was_read_are_read_for_the_first_time():
    bringing = Bringing()
    assert bringing.past(1, 1, PAGE, PAGE, settled=True)
    assert bringing.past(1, 1, PAGE, 2 * PAGE, settled=True)
    assert not bringing.past(1, 1, PAGE, 2 * PAGE, settled=True)


def test_a_place_counts_once_each_time_it_is_brought_for_or_against():
    bringing, at = Bringing(), (1, 1, PAGE, PAGE)
    assert bringing.past(*at, settled=True)
    for found, trust in ((2, TRUST + 1), (0, TRUST), (1, TRUST + 1), (0, TRUST), (0, TRUST - 1)):
        assert not bringing.past(*at, settled=True)
        for _ in range(found):
            bringing.found(*at)
        assert bringing.past(*at, settled=True), "it has gone"
        assert bringing._trust == trust


def test_pages_of_less_than_a_piece_share_one_and_come_all_the_same():
    bringing, cache = Bringing(), set()
    for _ in range(4 * TRY_ONE_IN):
        for page in range(64):
            read(bringing, page, cache, stays=True, size=PAGE // 4)
    assert cache == set(range(64))


def test_where_nobody_asks_a_third_time_few_are_brought_until_somebody_does():
    bringing, cache, more = Bringing(), set(), 100 * LEND_ONE_IN
    for page in range(MOST_LENT + more):
        assert read(bringing, page, cache, stays=True)
        read(bringing, page, cache, stays=True)
    assert set(range(MOST_LENT)) < cache
    assert abs(len(cache) - MOST_LENT - more // LEND_ONE_IN) <= 3
    for page in range(50):
        assert not read(bringing, page, cache, stays=True)
        assert not read(bringing, page, cache, stays=True), "each of them has its use"
    for page in range(10_000, 10_100):
        assert read(bringing, page, cache, stays=True)
        assert not read(bringing, page, cache, stays=True)
        assert page in cache
    seldom = [[read(bringing, page, cache, stays=True) for _ in range(2)] for page in range(20_000, 20_100)]
    assert 20 < seldom.count([True, False]) < 80


def test_no_place_that_stays_is_passed_over_for_good_whatever_the_rhythm():
    """By counting it was: two others that are gone each time, and this one, in turn."""
    stays, gone = (1, 1, 0, PAGE), [(2, 1, page * PAGE, PAGE) for page in range(40)]
    for others in range(1, 40):
        for every in range(1, others + 1):
            bringing, tries = Bringing(), 0
            bringing.past(*stays, settled=True)
            bringing._trust = 0
            turns = itertools.cycle(gone[:others])
            for _ in range(others * 3 + every):
                bringing.past(*next(turns), settled=True)
            while tries < 100:
                for _ in range(every):
                    bringing.past(*next(turns), settled=True)
                tries += 1
                if not bringing.past(*stays, settled=True):
                    break
            assert tries < 100, (others, every)


@pytest.mark.parametrize("before", [0, 300])
def test_where_everything_stays_all_is_in_the_cache_after_two_reads_or_soon(before):
    bringing, cache = Bringing(), set()
    for i in range(before):
        read(bringing, i % 8, set(), stays=False)
    rounds = 2 if not before else 2 * TRY_ONE_IN
    for _ in range(rounds):
        for page in range(100, 150):
            read(bringing, page, cache, stays=True)
    assert cache == set(range(100, 150))
    assert not bringing.doubted or rounds == 2


def test_what_had_its_use_may_go():
    """Pages that are asked for some times after they were brought, and then are gone, are worth bringing."""
    bringing, cache, rng = Bringing(), set(), random.Random(1)
    past = through = 0
    for _ in range(400):
        page = rng.randrange(1000)
        for _ in range(2):
            past += read(bringing, page, cache, stays=True)
        for _ in range(3):
            through += page in cache
            read(bringing, page, cache, stays=True)
        cache.discard(page)
    assert through > 3 * 400 * 0.95


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200))
def test_a_first_read_is_past_the_cache_and_nothing_is_brought_twice_running_if_it_was_gone(reads):
    bringing, cache, read_before, brought = Bringing(), set(), set(), set()
    for page, stays in reads:
        there = page in cache
        past = read(bringing, page, cache, stays=stays)
        assert past or there or page in read_before
        assert past or there or page not in brought
        read_before.add(page)
        brought.discard(page)
        if not past and not there:
            brought.add(page)
        if not stays:
            cache.discard(page)
    assert 0 <= bringing._trust <= MOST_TRUST
    assert 0 <= bringing._lent <= MOST_LENT
