"""What one member stores all of them find, each page once."""

from __future__ import annotations

import numpy as np
import pytest

from lsmkv_tensor.errors import ClosedError, InvalidArgumentError, ReadOnlyError
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.sharing import Sharing
from tests.sharing.conftest import FIELDS, PAGE, ROOT, Root, key, keys, page, put, read


def test_a_page_is_found_at_the_sibling_that_stored_it(root: Root) -> None:
    a, b = root.open("a").namespace(FIELDS, PAGE), root.open("b").namespace(FIELDS, PAGE)
    assert put(a, range(4)) == [True] * 4
    assert b.contains(keys(range(6))).tolist() == [True] * 4 + [False] * 2
    assert b.contains_own(keys(range(4))).tolist() == [False] * 4
    assert b.contains_prefix(keys(range(6))) == 4
    assert read(b, range(6)) == {i: page(i) for i in range(4)}


def test_a_prefix_may_lie_at_several(root: Root) -> None:
    spaces = [root.open(f"m{i}").namespace(FIELDS, PAGE) for i in range(3)]
    root.clock.advance(0.1)
    for i in range(9):
        put(spaces[i % 3], [i])
    for space in spaces:
        assert space.contains_prefix(keys(range(12))) == 9
        assert read(space, range(9)) == {i: page(i) for i in range(9)}


def test_a_page_that_a_sibling_holds_is_not_stored_again(root: Root) -> None:
    first, second = root.open("a"), root.open("b")
    a, b = first.namespace(FIELDS, PAGE), second.namespace(FIELDS, PAGE)
    put(a, range(4))
    assert put(b, range(6)) == [True] * 6
    assert (first.stats().pages, second.stats().pages) == (4, 2)
    assert second.stats().sharing.held_pages == 4
    assert second.stats().present_pages == 4


def test_a_member_may_keep_what_siblings_hold(root: Root) -> None:
    first, second = root.open("a"), root.open("b", sharing=Sharing(store_held=True))
    put(first.namespace(FIELDS, PAGE), range(4))
    put(second.namespace(FIELDS, PAGE), range(6))
    assert second.stats().pages == 6
    first.close()
    assert second.stats().sharing.held_pages == 0


def test_what_is_here_is_read_here(root: Root) -> None:
    second = root.open("b", sharing=Sharing(store_held=True))
    a, b = root.open("a").namespace(FIELDS, PAGE), second.namespace(FIELDS, PAGE)
    put(a, range(4))
    put(b, range(2))
    root.clock.advance(0.1)
    assert set(read(b, range(4))) == {0, 1, 2, 3}
    assert second.stats().hits == 4
    assert second.stats().sharing.hits == 2
    assert second.stats().sharing.misses == 0


def test_namespaces_are_told_by_their_fields_not_their_numbers(root: Root) -> None:
    first, second = root.open("a"), root.open("b")
    others = first.namespace({"model": "other"}, PAGE), second.namespace({"model": "third"}, PAGE)
    a, b = first.namespace(FIELDS, PAGE), second.namespace(FIELDS, PAGE)
    lonely = second.namespace({"model": "other"}, PAGE)
    assert a.number == b.number == 2
    assert lonely.number == 3
    put(a, [1], salt=1)
    put(others[0], [1], salt=2)
    assert read(b, [1]) == {1: page(1, 1)}
    assert read(lonely, [1]) == {1: page(1, 2)}
    assert read(others[1], [1]) == {}
    assert not others[1].contains([key(1)]).any()


def test_pages_of_another_size_are_other_pages(root: Root) -> None:
    first, second = root.open("a"), root.open("b")
    put(first.namespace(FIELDS, PAGE), range(3))
    assert read(second.namespace(FIELDS, PAGE + 1), range(3)) == {}


def test_a_page_evicted_or_deleted_there_is_missing_here(root: Root) -> None:
    a, b = root.open("a").namespace(FIELDS, PAGE), root.open("b", sharing=Sharing(refresh_s=0.0)).namespace(FIELDS, PAGE)
    put(a, range(4))
    assert len(read(b, range(4))) == 4
    a.delete_many(keys([2]))
    assert set(read(b, range(4))) == {0, 1, 3}
    for start in range(10, 110, 5):
        put(a, range(start, start + 5))
    assert not b.contains(keys(range(4))).any()


def test_who_joins_later_is_found_on_a_miss_or_with_time(root: Root) -> None:
    b = root.open("b").namespace(FIELDS, PAGE)
    assert read(b, range(2)) == {}
    put(root.open("a").namespace(FIELDS, PAGE), range(2))
    root.clock.advance(0.1)
    assert set(read(b, range(2))) == {0, 1}


def test_new_pages_are_found_on_a_miss_whatever_the_clock_says(root: Root) -> None:
    a, b = root.open("a").namespace(FIELDS, PAGE), root.open("b").namespace(FIELDS, PAGE)
    for i in range(20):
        put(a, [i])
        assert b.contains([key(i)]).all()
        assert b.contains_prefix(keys(range(i + 2))) == i + 1
        assert read(b, [i]) == {i: page(i)}


def test_lag_is_a_cause_of_lost_tokens(root: Root) -> None:
    second = root.open("b", sharing=Sharing(miss_refresh_s=10.0, refresh_s=10.0))
    first, third = root.open("a"), root.open("c")
    a, b, c = (store.namespace(FIELDS | {"page_tokens": 16}, PAGE) for store in (first, second, third))

    def account(call: str) -> tuple[int, int, dict[str, int]]:
        told = second.stats().waterfall[call]
        assert told.asked_tokens == told.hit_tokens + sum(told.lost_tokens.values())
        return told.asked_tokens, told.hit_tokens, {cause: n for cause, n in told.lost_tokens.items() if n}

    root.clock.advance(10.0)
    read(b, [90])
    assert account("get") == (16, 0, {"never_offered": 16})
    root.clock.advance(1.0)
    put(a, range(3))
    put(c, [3])
    assert read(b, range(6)) == {}
    assert b.contains_prefix(keys(range(6))) == 0
    assert account("get") == (16, 0, {"never_offered": 16})  # what of the rest is not known yet
    assert account("ask") == (0, 0, {})
    root.clock.advance(10.0)
    assert set(read(b, range(4))) == {0, 1, 2, 3}
    lost = {"never_offered": 16 * 3, "follower_lag": 16 * 4}
    assert account("get") == (16 * (1 + 6 + 4), 16 * 4, lost)
    assert account("ask") == (16 * 6, 0, {"never_offered": 16 * 2, "follower_lag": 16 * 4})
    assert second.stats().sharing.lag_misses == 4


def test_who_goes_away_had_nothing(root: Root) -> None:
    second = root.open("b", sharing=Sharing(miss_refresh_s=10.0, refresh_s=10.0))
    first, b = root.open("a"), second.namespace(FIELDS, PAGE)
    root.clock.advance(10.0)
    read(b, [0])
    root.clock.advance(1.0)
    assert read(b, range(3)) == {}
    assert second.stats().waterfall["get"].asked_tokens == 1
    root.stores.remove(first)
    first.close()
    for name in root.fs.listdir(f"{ROOT}/a"):
        if not root.fs.isdir(f"{ROOT}/a/{name}"):
            root.fs.unlink(f"{ROOT}/a/{name}")
    root.clock.advance(100.0)
    read(b, [0])
    told = second.stats().waterfall["get"]
    assert (told.asked_tokens, told.lost_tokens["never_offered"]) == (5, 5)


def test_lag_that_is_allowed_is_counted(root: Root) -> None:
    second = root.open("b", sharing=Sharing(miss_refresh_s=10.0, refresh_s=10.0))
    a, b = root.open("a").namespace(FIELDS, PAGE), second.namespace(FIELDS, PAGE)
    root.clock.advance(10.0)
    read(b, [0])
    root.clock.advance(1.0)
    put(a, range(3))
    assert read(b, range(5)) == {}
    assert second.stats().sharing.lag_misses == 0
    root.clock.advance(10.0)
    assert set(read(b, range(5))) == {0, 1, 2}
    assert second.stats().sharing.lag_misses == 3


def test_only_those_named_are_followed(root: Root) -> None:
    for i, name in enumerate("abc"):
        put(root.open(name).namespace(FIELDS, PAGE), [i])
    reader = root.open("d", sharing=Sharing(follow=["b", "not there yet"[:3], "c"]))
    assert set(read(reader.namespace(FIELDS, PAGE), range(3))) == {1, 2}
    assert [s.name for s in reader.stats().sharing.siblings] == ["b", "c"]
    nobody = root.open("e", sharing=Sharing(follow=()))
    assert read(nobody.namespace(FIELDS, PAGE), range(3)) == {}
    assert nobody.stats().sharing.siblings == ()


def test_a_follower_reads_all_and_writes_nothing(root: Root) -> None:
    follower = root.follow()
    space = follower.namespace(FIELDS, PAGE, name="label")
    assert read(space, range(4)) == {}
    for i, name in enumerate("ab"):
        put(root.open(name).namespace(FIELDS, PAGE), range(2 * i, 2 * i + 2))
    before = root.fs.listdir(ROOT)
    follower.refresh()
    assert read(space, range(5)) == {i: page(i) for i in range(4)}
    assert space.contains_prefix(keys(range(200))) == 4
    assert list(space.keys()) == sorted(keys(range(4)))
    assert [info.fields for info in follower.namespaces()] == [FIELDS]
    assert (follower.stats().pages, follower.stats().hits) == (4, 4)
    assert root.fs.listdir(ROOT) == before == ["a", "b"]
    calls = [
        lambda: put(space, [1]),
        lambda: space.delete_many([key(1)]),
        lambda: space.write_records({}),
        space.records,
        lambda: space.to_store([key(1)]),
        follower.sync,
        follower.gc,
    ]
    for call in calls:
        with pytest.raises(ReadOnlyError):
            call()
    follower.close()
    with pytest.raises(ClosedError):
        space.contains([key(1)])


def test_one_store_is_followed_by_its_path(root: Root) -> None:
    put(root.open("a").namespace(FIELDS, PAGE), range(3))
    alone = root.follow(f"{ROOT}/a")
    assert set(read(alone.namespace(FIELDS, PAGE), range(4))) == {0, 1, 2}
    assert [s.name for s in alone.stats().sharing.siblings] == [""]


def test_the_directory_of_one_process_is_no_root(root: Root) -> None:
    root.stores.append(PageStore.open(ROOT, options=root.options()))
    with pytest.raises(InvalidArgumentError, match="not a root of members"):
        root.open("a")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "x" * 65, "a b", "a\0", 7])
def test_names_that_cannot_name_a_member(root: Root, name: object) -> None:
    with pytest.raises(InvalidArgumentError, match="member"):
        root.open(name)


@pytest.mark.parametrize(
    "settings",
    [
        {"refresh_s": -1},
        {"refresh_s": float("nan")},
        {"miss_refresh_s": "0"},
        {"discover_s": True},
        {"follow": "a"},
        {"follow": 3},
        {"follow": ["a/b"]},
        {"store_held": 1},
        {"block_cache_bytes": -1},
    ],
)
def test_options_that_cannot_work(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        Sharing(**settings)


def test_sharing_without_a_member_is_refused(root: Root) -> None:
    with pytest.raises(InvalidArgumentError, match="member"):
        PageStore.open(ROOT, options=root.options(), sharing=Sharing())


def test_spans_of_the_caller_are_filled_in_order(root: Root) -> None:
    a, b = root.open("a").namespace(FIELDS, PAGE), root.open("b").namespace(FIELDS, PAGE)
    put(a, range(3))
    parts = [[np.zeros(n, np.uint8) for n in (1000, 1, 3999)] for _ in range(3)]
    assert b.get_into(keys(range(3)), parts) == [True] * 3
    for i, spans in enumerate(parts):
        assert b"".join(span.tobytes() for span in spans) == page(i)


def test_pages_that_a_sibling_encodes_are_read_like_any(root: Root) -> None:
    plain = bytes(range(250)) * (PAGE // 250)
    first, second = root.open("a"), root.open("b")
    a = first.namespace(FIELDS, PAGE, codec="shuffle_zstd")
    assert a.put_many(keys(range(3)), [plain, page(1), plain]) == [True] * 3
    assert first.stats().live_bytes < 3 * 8192, "two of them are"
    reader = root.follow().namespace(FIELDS, PAGE)
    for space in (second.namespace(FIELDS, PAGE), reader):
        assert read(space, range(4)) == {0: plain, 1: page(1), 2: plain}


@pytest.mark.parametrize("reads_only", [False, True])
def test_a_deadline_holds_for_siblings_too(root: Root, reads_only: bool) -> None:
    put(root.open("a").namespace(FIELDS, PAGE), range(3))
    store = root.follow() if reads_only else root.open("b")
    space = store.namespace(FIELDS, PAGE)
    out = np.zeros((4, PAGE), np.uint8)
    assert space.contains_prefix(keys(range(4)), deadline_s=60) == 3
    assert space.get_into(keys(range(4)), out, deadline_s=60) == [True] * 3 + [False]
    assert [row.tobytes() for row in out[:3]] == [page(i) for i in range(3)]
    out[:] = 7
    assert space.get_into(keys(range(4)), out, deadline_s=0) == [False] * 4
    assert (out == 7).all()
    assert space.contains_prefix(keys(range(4)), deadline_s=0) == 0


def test_a_page_that_has_ended_is_missing_at_siblings_too(root: Root) -> None:
    a = root.open("a").namespace(FIELDS, PAGE)
    spaces = [root.open("b").namespace(FIELDS, PAGE), root.follow().namespace(FIELDS, PAGE)]
    a.put_many(keys(range(2)), [page(0), page(1)], ttl_s=60.0)
    put(a, [2])
    for space in spaces:
        assert set(read(space, range(3))) == {0, 1, 2}
        assert space.contains(keys(range(3))).all()
    root.clock.advance(121.0)
    for space in spaces:
        assert set(read(space, range(3))) == {2}
        assert space.contains(keys(range(3))).tolist() == [False, False, True]


def test_a_sibling_on_several_disks_is_read_wherever_its_pages_are(root: Root) -> None:
    store = PageStore.open([ROOT, "/disk2"], options=root.options(), member="a")
    root.stores.append(store)
    space = store.namespace(FIELDS, PAGE)
    reader = root.follow().namespace(FIELDS, PAGE)
    b = root.open("b").namespace(FIELDS, PAGE)
    put(space, range(20))
    assert root.fs.listdir("/disk2/a/vlog")
    for other in (reader, b):
        assert read(other, range(20)) == {i: page(i) for i in range(20)}
