"""Every engine that is installed: page sizes, batches, puts, gets and lookups."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bench.adapters.rows import ROWS, Size, measure_size, row_name
from bench.harness import Effort, still_heap
from bench.session import Session

__all__ = ["ENGINES", "FULL", "QUICK", "run_adapters", "run_engine"]

ENGINES = ("sglang", "vllm", "lmcache")

_KIB, _MIB = 1 << 10, 1 << 20
_ROUNDS = Effort(5, least_rounds=3, budget_s=2.0, warmups=0)
_MIDDLE = Effort(9, least_rounds=5, budget_s=6.0, warmups=0)
"""Files of this size are written at one of two speeds, as the page cache has memory at hand: their median needs rounds."""
_LARGE = Effort(3, least_rounds=3, warmups=0)
"""Half a gigabyte moved in a round."""
FULL = (
    Size(64 * _KIB, 128, (1, 32, 128), _ROUNDS),
    Size(256 * _KIB, 128, (1, 32, 128), _ROUNDS),
    Size(1 * _MIB, 128, (1, 32, 128), _MIDDLE),
    Size(4 * _MIB, 32, (1, 32), _LARGE),
    Size(4 * _MIB, 128, (128,), _LARGE),
)
_ONCE = Effort(2, least_rounds=1, budget_s=1.0, warmups=0)
QUICK = (Size(64 * _KIB, 32, (32,), _ONCE), Size(1 * _MIB, 32, (32,), _ONCE))


def run_adapters(session: Session, engines: tuple[str, ...], page_bytes: tuple[int, ...] = ()) -> None:
    """Measure in every engine asked for; one that is not installed here is skipped, and said to be.

    ``page_bytes``: only these sizes of pages; none: all.
    """
    for name in engines or ENGINES:
        if find_spec(name) is None:
            session.skipped[name] = f"not installed here: run this in its environment, that of make test-{name}"
            continue
        try:
            kinds = import_module(f"bench.adapters.{name}").ENGINES
        except Exception as error:  # noqa: BLE001 - an engine's import may raise anything; the others go on
            session.skipped[name] = f"cannot be loaded: {type(error).__name__}: {error}"
            continue
        for kind in kinds:
            run_engine(session, kind, QUICK if session.request.quick else FULL, page_bytes)


def run_engine(session: Session, kind: Any, sizes: tuple[Size, ...], page_bytes: tuple[int, ...] = ()) -> None:
    """Every size in one engine; ``kind`` makes its memory and its sides."""
    for size in sizes:
        if page_bytes and size.page_bytes not in page_bytes:
            continue
        if not session.request.wants(*(row_name(what, size, batch) for what in ROWS for batch in size.batches)):
            continue
        engine = kind(size.page_bytes, size.pages)
        with still_heap():
            measure_size(session, engine, size)
