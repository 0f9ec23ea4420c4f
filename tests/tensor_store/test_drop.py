"""Dropping a prefix forgets exactly what continues it: across groups, beside siblings, beyond holes."""

import hashlib

import numpy as np
import pytest

from lsmkv_tensor.errors import BusyError, NoSpaceError
from lsmkv_tensor.keys.chain import KeyChain
from lsmkv_tensor.keys.tokens import token_ids
from lsmkv_tensor.keys.trails import group_keys

ROOT = [1, 1] * 100  # 100 pages: into the second group
LEFT = ROOT + [2, 2] * 100  # 200 pages: into the fourth
RIGHT = ROOT + [3, 3] * 100


def keys_of(store, tokens):
    return list(KeyChain(store.namespace.digest, store.format.page_tokens).keys(token_ids(tokens)))


def check_trails(store):
    """The two promises of keys/trails.py, and nothing beyond them after a tidy."""
    namespace = store.namespace
    on_trails = {key for record in namespace.records() for key in group_keys(record)}
    assert set(namespace.pages) <= on_trails
    reached = {namespace.digest[:12]}
    for last, path in namespace.records():
        assert path[-14:] == last[-14:]
        assert len(path) == 14 * (int.from_bytes(last[12:14], "big") + 1)
        if len(path) == 64 * 14:
            reached.add(path[-14:-2])
    assert {last[:12] for last, _ in namespace.records()} <= reached


@pytest.fixture
def tree(in_memory, pages_of):
    in_memory.put_batch(LEFT, pages_of(LEFT))
    in_memory.put_batch(RIGHT, pages_of(RIGHT))
    check_trails(in_memory)
    return in_memory


@pytest.mark.parametrize("pages", [1, 63, 64, 65, 100])
def test_what_both_share_takes_both_with_it(tree, pages):
    assert tree.drop(ROOT[: 2 * pages]) == 300 - pages + 1
    assert tree.probe(LEFT) == tree.probe(RIGHT) == 2 * (pages - 1)
    assert len(tree.namespace.pages) == pages - 1
    check_trails(tree)


@pytest.mark.parametrize("pages", [101, 128, 129, 192, 193, 200])
def test_a_branch_leaves_its_sibling(tree, pages):
    assert tree.drop(LEFT[: 2 * pages]) == 200 - pages + 1
    assert tree.probe(LEFT) == 2 * (pages - 1)
    assert tree.probe(RIGHT) == len(RIGHT)
    check_trails(tree)


def test_tokens_after_the_last_whole_page_are_ignored(tree):
    assert tree.drop([*LEFT[:398], 2]) == 2
    assert tree.probe(LEFT) == 396


def test_less_than_a_page_drops_nothing(tree):
    assert tree.drop([]) == tree.drop([1]) == 0
    assert tree.probe(LEFT) == len(LEFT)


def test_what_is_not_stored_drops_nothing(tree):
    assert tree.drop([7, 7]) == tree.drop([*ROOT, 9, 9]) == tree.drop([*LEFT, 2, 2]) == 0
    assert tree.probe(LEFT) == tree.probe(RIGHT) == len(LEFT)
    check_trails(tree)


@pytest.mark.parametrize("lost", [{0}, {62, 63}, {63}, {64}, {99}, {100}, {127}, set(range(40, 150))])
@pytest.mark.parametrize("dropped", [1, 40, 64, 100, 101])
def test_pages_below_a_hole_are_forgotten_too(tree, pages_of, lost, dropped):
    """Found while designing: with parent links alone, filling the hole again brought dropped pages back to life."""
    keys = keys_of(tree, LEFT)
    tree.namespace.evict([keys[i] for i in lost])
    tree.gc()
    check_trails(tree)
    tree.drop(LEFT[: 2 * dropped])
    check_trails(tree)
    tree.put_batch(LEFT[:300], pages_of(LEFT, 0, 150))
    check_trails(tree)
    assert tree.probe(LEFT) == 300


@pytest.mark.parametrize("lost", [{0}, {63}, {99}, {100}, {127}, set(range(150))])
def test_a_hole_does_not_cost_a_sibling_its_pages(tree, pages_of, lost):
    right = keys_of(tree, RIGHT)
    tree.namespace.evict([right[i] for i in lost])
    tree.drop(LEFT[:202])
    check_trails(tree)
    tree.put_batch(RIGHT[:300], pages_of(RIGHT, 0, 150))
    assert tree.probe(RIGHT) == len(RIGHT)


def test_pages_put_without_those_before_them_can_be_dropped_from_above(in_memory, pages_of):
    in_memory.put_batch(LEFT, pages_of(LEFT, 150, 160), first_page=150)
    check_trails(in_memory)
    assert in_memory.probe(LEFT) == 0
    assert in_memory.drop(LEFT[:2]) == 10
    assert not in_memory.namespace.pages
    assert not in_memory.namespace.notes


def test_appending_page_by_page_keeps_one_trail(in_memory, pages_of):
    for i in range(70):
        in_memory.put_batch(LEFT[: 2 * i + 2], pages_of(LEFT, i, i + 1), first_page=i)
        check_trails(in_memory)
    assert len(in_memory.namespace.notes) == 2
    assert in_memory.drop(LEFT[:2]) == 70
    assert not in_memory.namespace.notes


def test_trails_of_evicted_pages_go_with_later_puts(in_memory, pages_of):
    """Otherwise a store that runs for months fills its index with ways to pages that are long gone."""
    for n in range(50):
        prompt = [n, 5] * 130
        in_memory.put_batch(prompt, pages_of(prompt))
        in_memory.namespace.evict(keys_of(in_memory, prompt))
    assert len(in_memory.namespace.notes) < 10
    in_memory.gc()
    assert not in_memory.namespace.notes


def test_gc_shortens_trails_to_what_is_left(tree):
    left = keys_of(tree, LEFT)
    tree.namespace.evict(left[110:])
    tree.gc()
    check_trails(tree)
    lasts = {last for last, _ in tree.namespace.records()}
    assert left[109] in lasts
    assert not lasts & set(left[110:])
    assert tree.probe(LEFT) == 220
    assert tree.probe(RIGHT) == len(RIGHT)


def test_gc_keeps_the_way_to_a_group_below_evicted_ones_and_clears_it_after_it(tree):
    left, right = keys_of(tree, LEFT), keys_of(tree, RIGHT)
    tree.namespace.evict(right + left[:199])
    tree.gc()
    check_trails(tree)
    assert len(tree.namespace.notes) == 4
    tree.namespace.evict(left)
    tree.gc()
    assert not tree.namespace.notes


def test_a_drop_cut_short_can_be_repeated(tree, monkeypatch):
    """The far end goes first: whatever is left can still be found from the top."""
    namespace, calls = tree.namespace, []
    delete = namespace.delete_many

    def busy_third_time(keys, *, records=()):
        calls.append(len(keys))
        if len(calls) == 3:
            raise BusyError("test")
        return delete(keys, records=records)

    monkeypatch.setattr(namespace, "delete_many", busy_third_time)
    with pytest.raises(BusyError):
        tree.drop(ROOT[:2])
    check_trails(tree)
    tree.drop(ROOT[:2])
    assert not namespace.pages
    assert not namespace.notes


def test_a_wide_group_is_dropped_whole(in_memory, page_of):
    """Many branches below one page: more keys than one index commit takes."""
    prompts = [
        [1, 1, *(int(x) for x in np.unravel_index(i, (30, 30))), *hashlib.sha256(bytes([i % 256])).digest()[:4]]
        for i in range(900)
    ]
    for prompt in prompts:
        in_memory.put_batch(prompt, [page_of(prompt, i) for i in range(4)])
    stored = len(in_memory.namespace.pages)
    assert in_memory.drop([1, 1]) == stored > 1024
    assert not in_memory.namespace.notes


def test_upkeep_that_finds_no_space_does_not_fail_a_put(in_memory, pages_of, monkeypatch):
    in_memory.put_batch(LEFT, pages_of(LEFT))
    in_memory.namespace.evict(keys_of(in_memory, LEFT))
    write = in_memory.namespace.write_records

    def full(records):
        if None in records.values() and not any(records.values()):
            raise NoSpaceError("write", "index")
        write(records)

    with monkeypatch.context() as disk:
        disk.setattr(in_memory.namespace, "write_records", full)
        assert in_memory.put_batch(RIGHT, pages_of(RIGHT)) == 200
        with pytest.raises(NoSpaceError):
            in_memory.gc()
    in_memory.gc()
    check_trails(in_memory)
    assert len(in_memory.namespace.notes) == 4
