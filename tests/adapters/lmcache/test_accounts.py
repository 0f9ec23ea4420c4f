"""What LMCache has been told is what is there, whatever was done in whichever order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adapters.lmcache.conftest import Machine, listed, make_key, write_queued

CHUNKS = st.lists(st.integers(0, 40), min_size=1, max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), CHUNKS),
        st.tuples(st.just("store"), CHUNKS),
        st.tuples(st.just("delete"), CHUNKS),
        st.tuples(st.just("lookup"), CHUNKS),
        st.tuples(st.just("load"), CHUNKS),
        st.tuples(st.just("together"), CHUNKS),
        st.tuples(st.just("crash"), CHUNKS),
        st.tuples(st.just("restart"), st.just([])),
    ),
    max_size=25,
)


def keys_of(chunks):
    return [make_key(i, rank=i % 2, salt="user" if i % 5 == 0 else "") for i in dict.fromkeys(chunks)]


def check(adapter):
    """Accounts, listeners and listing agree, and all that is listed can be loaded, but for what a power cut tore."""
    adapter.wait_idle()
    write_queued(adapter)
    assert adapter.counts["errors"] == adapter.holding.store.stats().callback_errors == 0
    told = listed(adapter)
    whole = [key for key, flag in zip(told, Machine.load(adapter, told), strict=True) if flag]
    there = listed(adapter)
    assert there == whole
    assert len(there) == len(set(there))
    assert set(adapter.listener.keys) == set(there)
    salts = {salt: 5120 * sum(key.cache_salt == salt for key in there) for salt in ("", "user")}
    assert adapter.get_usage().bytes_by_cache_salt == {salt: n for salt, n in salts.items() if n}


@settings(max_examples=25, deadline=None)
@given(STEPS, st.sampled_from([0, 1 << 20]))
def test_lmcache_knows_what_is_there(steps, queue_bytes):
    machine = Machine(queue_bytes)
    adapter = machine.start()
    locked = []
    for what, chunks in steps:
        keys = keys_of(chunks)
        if what == "store":
            machine.store(adapter, keys)
        elif what == "together":  # the same from two sides, while what is there is deleted
            items = [machine.items(keys), machine.items(keys)]
            tasks = [adapter.submit_store_task(keys, own) for own in items]
            adapter.delete(keys[:3])
            adapter.wait_idle()
            assert set(adapter.pop_completed_store_tasks()) == set(tasks)
        elif what == "delete":
            adapter.delete(keys)
        elif what == "lookup":
            locked.append([key for key, flag in zip(keys, machine.lookup(adapter, keys), strict=True) if flag])
        elif what == "load":
            machine.load(adapter, keys)
            machine.unlock(adapter, locked.pop() if locked else [])
        else:
            if what == "restart":
                adapter.close()
            else:
                machine.crash(sum(chunks))
            adapter, locked = machine.start(), []
        if what != "crash":  # then what is torn is met by whatever comes next
            check(adapter)
    check(adapter)
    for keys in locked:
        machine.unlock(adapter, keys)
    assert adapter.report_status()["locked_pages"] == adapter.report_status()["pinned_bytes"] == 0
    machine.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_page_that_a_power_cut_tore_is_told_once_when_it_is_stored_again(seed):
    """It was told at the start, found torn by the put that stored it anew, and counted twice."""
    machine, keys = Machine(), keys_of(range(1, 13))
    machine.store(machine.start(), keys)
    machine.crash(seed)
    adapter = machine.start()
    machine.store(adapter, keys)
    check(adapter)
    machine.close()
