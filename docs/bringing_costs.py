"""What reads cost by the way they go: ``python docs/bringing_costs.py`` prints the table of docs/valuelog.md.

Reads of single pages of 64 KiB against a model of a page cache that lets go of what was used least recently. A read costs 220 us
past it, 450 if it leaves the page there, 30 from there: measured on a disk of a virtual machine.
"""

import random  # noqa: TID251 - draws with weights and without replacement
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from lsmkv_tensor.vlog.bringing import MOST_TRUST, Bringing

PAST_US, BRING_US, HELD_US = 220, 450, 30
PAGE_BYTES = 64 << 10
PER_SEGMENT = 1000
OTHERS = -1
"""A read of something else on the machine."""


class _Always(Bringing):
    """Every second read is brought."""

    def past(self, *place: int, settled: bool) -> bool:
        self._trust, self._lent = MOST_TRUST, 0
        return super().past(*place, settled=settled)


class _Never(Bringing):
    """None is."""

    def past(self, *_: int, settled: bool) -> bool:
        assert settled
        return True


def cost_us(way: Bringing, reads: Iterable[int], room: int) -> float:
    """Microseconds a read, with room for so many pages in the page cache."""
    cache: OrderedDict[int, None] = OrderedDict()
    cost = n = others = 0
    for page in reads:
        if page == OTHERS:
            others -= 1
            cache[others] = None
        else:
            place = page // PER_SEGMENT, 1, 8192 + page % PER_SEGMENT * PAGE_BYTES, PAGE_BYTES
            n += 1
            if page in cache:
                way.found(*place)
                cost += HELD_US
                cache.move_to_end(page)
            elif way.past(*place, settled=True):
                cost += PAST_US
            else:
                cost += BRING_US
                cache[page] = None
        if len(cache) > room:
            cache.popitem(last=False)
    return cost / n


def _shuffled(pages: int, rounds: int, rng: random.Random) -> Iterator[int]:
    """All pages in every round, in any order."""
    for _ in range(rounds):
        yield from rng.sample(range(pages), pages)


def _zipf(pages: int, count: int, power: float, rng: random.Random) -> list[int]:
    """Some pages more often than others."""
    weights = [1 / (i + 1) ** power for i in range(pages)]
    return rng.choices(rng.sample(range(pages), pages), weights, k=count)


def _used(times: int, pages: int, rng: random.Random) -> Iterator[int]:
    """Each page so many times while fifty others are in use, and then never again."""
    for first in range(0, pages, 50):
        some = list(range(first, first + 50)) * times
        rng.shuffle(some)
        yield from some


def _beside(reads: Iterable[int], others: int) -> Iterator[int]:
    """With so many reads of others after each."""
    for page in reads:
        yield page
        yield from [OTHERS] * others


def works() -> Iterator[tuple[str, list[int], int]]:
    """Name, reads and room in the page cache."""
    rng = random.Random(1)  # noqa: S311 - a model
    yield "20,000 pages that fit, six rounds", list(_shuffled(20_000, 6, rng)), 30_000
    yield "pages that fit beside others", list(_beside(_shuffled(6000, 10, rng), 1)), 20_000
    yield "pages drawn evenly, cache of a half", [rng.randrange(12_000) for _ in range(120_000)], 6000
    yield "the same pages in turn, cache of a half", list(range(12_000)) * 10, 6000
    yield "nothing stays", list(_shuffled(12_000, 10, rng)), 0
    yield "Zipf 1.0, cache of a fifth", _zipf(20_000, 120_000, 1.0, rng), 4000
    yield "Zipf 0.6, cache of a fifth", _zipf(20_000, 120_000, 0.6, rng), 4000
    for times in (2, 3, 4, 6):
        yield f"each page {times} times, then never again", list(_used(times, 120_000 // times // 50 * 50, rng)), 6000
    hot = [rng.randrange(1000) for _ in range(60_000)]
    yield "1000 hot pages beside a loop that does not fit", [p for i, h in enumerate(hot) for p in (h, 2000 + i % 12_000)], 4000


def main() -> None:
    """Print the table."""
    ways: tuple[Callable[[], Bringing], ...] = (_Never, _Always, Bringing)
    for name, reads, room in works():
        costs = " | ".join(f"{cost_us(way(), reads, room):.0f}" for way in ways)
        sys.stdout.write(f"| {name} | {costs} |\n")


if __name__ == "__main__":
    main()
