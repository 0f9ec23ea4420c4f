"""What a page key may be is the same in every call: bytes, a bytearray, or text; and keys are a sequence of them, not one."""

from __future__ import annotations

import pytest

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.followed import PageFollower
from tests.tensor_pages.conftest import PATH

SIZE = 4000


@pytest.mark.parametrize("width", [28, 32, 5])
def test_a_bytearray_is_the_key_of_its_bytes(world, width):
    ns = world.open().namespace({"m": 1}, SIZE)
    keys = [bytes([i + 1]) * width for i in range(20)]
    loose = [bytearray(key) for key in keys]
    assert ns.contains_prefix(loose) == 0
    assert ns.put_many(loose, world.pages(range(20), SIZE), [None, *loose[:-1]]) == [True] * 20
    assert ns.contains(keys).all()
    assert ns.contains(loose).all()
    assert ns.contains_prefix(keys) == ns.contains_prefix(loose) == 20
    assert ns.parents(loose[1:2]) == ns.parents(keys[1:2]) != [None]
    out = [bytearray(SIZE) for _ in keys]
    assert ns.get_into(loose, out) == [True] * 20
    assert out == world.pages(range(20), SIZE)
    assert ns.pin(loose[:2]) == [True, True]
    ns.unpin(keys[:2])
    assert world.store.stats().pinned_bytes == 0
    for i in range(200):
        world.put(ns, [1000 + i])  # its eviction hears of every use
    while world.store.step():
        pass
    left = int(ns.contains(keys).sum())
    assert ns.delete_many(loose) == left
    assert not ns.contains(keys).any()


def test_an_admission_policy_takes_it_for_the_same_page(world):
    ns = world.open(admission="second").namespace({"m": 1}, SIZE)
    keys = [bytes([i]) * 28 for i in range(20)]
    loose = [bytearray(key) for key in keys]
    for stored in (False, True):  # a probe and the put that follows it are one sighting
        assert ns.contains_prefix(loose) == 0
        loose[0][:] = b"x" * 28
        loose[0][:] = keys[0]
        assert ns.put_many(keys, world.pages(range(20), SIZE)) == [stored] * 20


@pytest.mark.parametrize("keys", ["abc", b"abc", bytearray(b"abc")])
def test_one_key_is_no_sequence_of_keys(world, keys):
    ns = world.open().namespace({"m": 1}, SIZE)
    buffers = [bytearray(SIZE) for _ in range(3)]
    with PageFollower.open(PATH, options=world.options()) as follower:
        followed = follower.namespace({"m": 1}, SIZE)
        calls = [
            ns.pin,
            ns.unpin,
            ns.contains,
            ns.contains_own,
            ns.contains_prefix,
            ns.parents,
            ns.delete_many,
            lambda given: ns.put_many(given, buffers),
            lambda given: ns.get_into(given, buffers),
            followed.contains,
            followed.contains_prefix,
            lambda given: followed.get_into(given, buffers),
        ]
        for call in calls:
            with pytest.raises(InvalidArgumentError, match="a list of page keys"):
                call(keys)
    with pytest.raises(InvalidArgumentError, match="page key must be bytes, a bytearray or str, not int"):
        ns.pin([1])
