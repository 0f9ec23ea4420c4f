"""Which entries a workload asks for is what its name says."""

import numpy as np
import pytest

from bench.data import GROUP, KeyWidth, make_entries
from bench.index.draws import ZIPF, Drawer, zipf_ranks
from bench.index.ycsb import GET, INSERT, MODIFY, SCAN, UPDATE, WORKLOADS, _new_keys, operations

ENTRIES = make_entries(4_000, 28, seed=3)


@pytest.mark.parametrize("exponent", [0.5, ZIPF, 1.3])
def test_zipfian_ranks_are_as_frequent_as_their_power_law(exponent):
    count, size = 50, 200_000
    found = np.bincount(zipf_ranks(count, size, np.random.default_rng(1), exponent), minlength=count) / size
    shares = np.arange(1, count + 1) ** -exponent
    shares /= shares.sum()
    assert len(found) == count
    deviations = np.abs(found - shares) / np.sqrt(shares * (1 - shares) / size)
    assert deviations.max() < 5


def test_the_same_seed_draws_the_same_keys_and_only_present_ones():
    for access in ("uniform", "zipfian", "latest"):
        first, second = (Drawer(ENTRIES, 5).keys(access, 500) for _ in range(2))
        assert first == second
        assert set(first) <= set(ENTRIES.keys)
    assert not set(Drawer(ENTRIES, 5).absent(500)) & set(ENTRIES.keys)


def test_the_latest_entry_is_asked_for_most():
    places = Drawer(ENTRIES, 5).positions("latest", 20_000)
    assert np.bincount(places).argmax() == ENTRIES.order[-1]


def test_popular_keys_are_no_neighbours():
    places = np.bincount(Drawer(ENTRIES, 5).positions("zipfian", 20_000), minlength=4_000)
    top = np.sort(np.argsort(places)[-10:])
    assert np.diff(top).min() > 1


def test_requests_for_one_conversation_share_their_first_pages():
    drawer = Drawer(ENTRIES, 5)
    requests = [drawer.chain() for _ in range(100)]
    assert all(set(request) <= set(ENTRIES.keys) for request in requests)
    assert {len(request) for request in requests} <= set(range(1, 8 * GROUP + 1))
    by_first: dict[bytes, list[list[bytes]]] = {}
    for request in requests:
        by_first.setdefault(request[0], []).append(request)
    popular = max(by_first.values(), key=len)
    assert len(popular) > 10
    longest = max(popular, key=len)
    assert all(request == longest[: len(request)] for request in popular)


def test_pages_of_a_group_are_neighbours():
    pages = next(request for request in iter(Drawer(ENTRIES, 6).chain, None) if len(request) > GROUP)
    at = ENTRIES.keys.index(pages[0])
    assert pages[:GROUP] == ENTRIES.keys[at : at + GROUP]


@pytest.mark.parametrize("width", [KeyWidth(24, 24), KeyWidth(64, 64), KeyWidth(24, 64)])
def test_keys_have_the_widths_asked_for_and_differ(width):
    entries = make_entries(3_000, 8, seed=1, width=width)
    everyone = entries.keys + entries.absent
    assert len(set(everyone)) == len(everyone)
    assert entries.keys == sorted(entries.keys)
    assert {len(key) for key in everyone} == set(range(width.low, width.high + 1))


@pytest.mark.parametrize("mix", WORKLOADS, ids=lambda mix: mix.name)
def test_a_ycsb_workload_has_its_published_mix(mix):
    shares = (mix.read, mix.update, mix.insert, mix.scan, mix.modify)
    assert sum(shares) == pytest.approx(1)
    drawn = operations(mix, ENTRIES, _new_keys(ENTRIES), 4_000, seed=1)
    for kind, share in zip((GET, UPDATE, INSERT, SCAN, MODIFY), shares, strict=True):
        assert sum(1 for operation in drawn if operation[0] == kind) / len(drawn) == pytest.approx(share, abs=0.04)
    present = set(ENTRIES.keys)
    for kind, key, _, length in drawn:
        assert 1 <= length <= 100
        if kind == INSERT:
            assert key not in present
            present.add(key)
        else:
            assert key in present


def test_new_keys_never_end_and_never_repeat():
    fresh = _new_keys(ENTRIES)
    found = [next(fresh) for _ in range(2 * len(ENTRIES.absent))]
    assert len(set(found)) == len(found)
    assert not set(found) & set(ENTRIES.keys)
