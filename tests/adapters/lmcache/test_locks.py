"""Locks of LMCache's and pins of the store's are balanced, whatever is asked for."""

from hypothesis import given
from hypothesis import strategies as st

from lsmkv_tensor.adapters.lmcache.locks import Locks

PAGES = [(0, b"%d" % i) for i in range(3)]
CALLS = st.lists(st.tuples(st.booleans(), st.lists(st.tuples(st.sampled_from(PAGES), st.booleans()), max_size=5)), max_size=12)


@given(CALLS)
def test_what_is_locked_stays_pinned_and_what_is_not_is_not(calls):
    """A call pins a page once, also one that it names twice."""
    locks, pins, held, lent = Locks(), dict.fromkeys(PAGES, 0), dict.fromkeys(PAGES, 0), dict.fromkeys(PAGES, 0)
    for locking, asked in calls:
        pages = [page for page, _ in asked]
        if locking:
            granted = dict(asked)
            locks.add(pages, [granted[page] for page in pages])
            for page, pin in granted.items():
                pins[page] += pin
                lent[page] += pin
            for page in pages:
                held[page] += 1
        else:
            for page in locks.remove(pages):
                pins[page] -= 1
            for page in pages:
                held[page] = max(held[page] - 1, 0)
                lent[page] = min(lent[page], held[page])
        assert pins == lent
        assert [locks.holds(page) for page in PAGES] == [held[page] > 0 for page in PAGES]
