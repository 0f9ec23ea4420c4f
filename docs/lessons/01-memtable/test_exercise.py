"""The memtable of lesson 1: right answers, and no more comparisons than it needs."""

from __future__ import annotations

from types import ModuleType

from lsmkv.env.rng import seeded


class Counted(bytes):
    """A key that counts how often keys of its kind are compared."""

    compared = 0

    def __lt__(self, other: bytes) -> bool:
        Counted.compared += 1
        return bytes.__lt__(self, other)

    def __ge__(self, other: bytes) -> bool:
        Counted.compared += 1
        return bytes.__ge__(self, other)

    def __le__(self, other: bytes) -> bool:
        Counted.compared += 1
        return bytes.__le__(self, other)

    def __gt__(self, other: bytes) -> bool:
        Counted.compared += 1
        return bytes.__gt__(self, other)

    __hash__ = bytes.__hash__


def keys(count: int, seed: int) -> list[Counted]:
    rng = seeded(seed)
    return [Counted(b"%09d" % rng.getrandbits(29)) for _ in range(count)]


def test_it_answers_like_a_dict_sorted_at_every_scan(work: ModuleType) -> None:
    table, truth, rng = work.LazyMemtable(), {}, seeded(3)
    for step in range(600):
        key, value = b"%02d" % (rng.getrandbits(6)), b"%d" % step
        table.put(key, value)
        truth[key] = value
        assert table.get(key) == value
        if step % 7 == 0:
            start, stop = sorted((b"%02d" % rng.getrandbits(6), b"%02d" % rng.getrandbits(6)))
            assert list(table.scan(start, stop)) == [(k, truth[k]) for k in sorted(truth) if start <= k < stop], f"step {step}"
    assert table.get(b"absent") is None


def test_writing_compares_nothing(work: ModuleType) -> None:
    table = work.LazyMemtable()
    Counted.compared = 0
    for key in keys(5_000, seed=1):
        table.put(key, b"")
    assert Counted.compared == 0


def test_a_second_scan_sorts_nothing(work: ModuleType) -> None:
    table, some = work.LazyMemtable(), keys(5_000, seed=1)
    for key in some:
        table.put(key, b"")
    middle = sorted(some)[2_500]
    list(table.scan(middle, middle + b"!"))
    Counted.compared = 0
    assert list(table.scan(middle, middle + b"!")) == [(middle, b"")]
    assert Counted.compared < 50, f"{Counted.compared} comparisons to scan one key of 5,000 sorted ones"


def test_few_new_keys_cost_less_than_sorting_all(work: ModuleType) -> None:
    table, some = work.LazyMemtable(), keys(5_000, seed=2)
    for key in some:
        table.put(key, b"")
    list(table.scan(b"", b"0"))
    for key in keys(20, seed=5):
        table.put(key, b"")
    Counted.compared = 0
    list(table.scan(b"", b"0"))
    # Going once through all keys is allowed (log2 of 5,020 is 12: sorting them anew takes some 55,000).
    assert Counted.compared < 3 * 5_020, f"{Counted.compared} comparisons to add 20 keys to 5,000"
