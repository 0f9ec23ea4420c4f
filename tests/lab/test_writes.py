"""The write load: shares, memtables, who is alive, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv import InvalidArgumentError
from lsmkv.lab.writes import LOG_FACTOR, Arrival, Writes, arrivals

LOADS = st.builds(
    Writes,
    entries=st.integers(1, 2_000),
    memtable=st.integers(1, 150),
    overwrites=st.sampled_from([0.0, 0.1, 0.5]),
    deletes=st.sampled_from([0.0, 0.1, 0.5]),
    order=st.sampled_from(["random", "sequential"]),
    seed=st.integers(0, 1 << 40),
)


def replayed(given_arrivals: list[Arrival]) -> list[int]:
    """Keys alive after each arrival, by a dict."""
    alive: dict[int, bool] = {}
    counts = []
    for arrival in given_arrivals:
        alive.update(zip(arrival.entries.keys.tolist(), (arrival.entries.tags & 1).astype(bool).tolist(), strict=True))
        counts.append(sum(alive.values()))
    return counts


@given(LOADS)
@settings(max_examples=60, deadline=None)
def test_memtables_hold_so_many_keys_and_the_account_of_the_living_is_exact(load: Writes) -> None:
    made = list(arrivals(load))
    assert sum(a.writes for a in made) == load.entries
    assert [a.live_entries for a in made] == replayed(made)
    for arrival in made[:-1]:
        assert len(arrival.entries) == load.memtable or arrival.writes == LOG_FACTOR * load.memtable
    assert len(made[-1].entries) <= load.memtable
    for arrival in made:
        assert (np.diff(arrival.entries.keys) > 0).all()
        assert arrival.entries.keys[0] >= 0
    seqs = np.sort(np.concatenate([a.entries.tags >> 1 for a in made]))
    assert seqs[0] >= 1
    assert seqs[-1] == load.entries
    assert (np.diff(seqs.astype(np.int64)) > 0).all()


@given(LOADS)
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_writes(load: Writes) -> None:
    for one, other in zip(arrivals(load), arrivals(load), strict=True):
        assert (one.entries.keys == other.entries.keys).all()
        assert (one.entries.tags == other.entries.tags).all()


def test_inserts_alone_are_all_different_and_random_or_in_order() -> None:
    for order in ("random", "sequential"):
        made = list(arrivals(Writes(entries=50_000, memtable=1_000, order=order)))  # type: ignore[arg-type]  # one of the two
        keys = np.concatenate([a.entries.keys for a in made])
        assert len(np.unique(keys)) == 50_000
        assert bool((np.diff(keys) > 0).all()) == (order == "sequential")


def test_shares_of_overwrites_and_deletes_are_as_asked() -> None:
    made = list(arrivals(Writes(entries=100_000, memtable=5_000, overwrites=0.3, deletes=0.1)))
    assert sum(a.deletes for a in made) == pytest.approx(10_000, rel=0.05)
    assert len(np.unique(np.concatenate([a.entries.keys for a in made]))) == pytest.approx(60_000, rel=0.02)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entries", 0), ("entries", 10**9), ("entries", 1.5), ("entries", True), ("memtable", 0), ("overwrites", -0.1),
        ("overwrites", 1.1), ("overwrites", float("nan")), ("deletes", "x"), ("order", "sideways"), ("key_bytes", 0),
        ("value_bytes", -1), ("writes_per_s", 0), ("seed", -1),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_named(field: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        Writes(**{field: value})  # type: ignore[arg-type]  # nonsense on purpose


def test_shares_together_are_at_most_all() -> None:
    with pytest.raises(InvalidArgumentError, match="together"):
        Writes(overwrites=0.6, deletes=0.5)
