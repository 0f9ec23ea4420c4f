"""What a store of segments costs in hits: ``python -m bench.physical TRACE [CAPACITY ...]`` (some minutes and GB a capacity).

A Mooncake-format trace, one of three page sizes for each conversation. The real store with its default eviction and admission
beside the same policies that evict single pages in exact order, from the same bytes, and pay nothing for headers.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lsmkv_tensor.retention.names import load_eviction
from lsmkv_tensor.retention.steering import steered_admission
from lsmkv_tensor.trace import Trace, parse_trace, replay_store
from lsmkv_tensor.trace.blocks import BlockCache
from lsmkv_tensor.trace.run import DEFAULT_ADMISSION, DEFAULT_EVICTION
from lsmkv_tensor.trace.stored import by_size

SIZES = (32 << 10, 64 << 10, 128 << 10)
CAPACITIES = (0.01, 0.02, 0.05, 0.1, 0.2)


def single_pages(trace: Trace, capacity: float) -> tuple[int, int]:
    """Hits without segments, and bytes of the capacity."""
    split, sizes = by_size(trace, SIZES)
    bytes_of_pages = int(capacity * int(sizes.sum()))
    admission = steered_admission(DEFAULT_ADMISSION, None)(bytes_of_pages, None)
    cache = BlockCache(bytes_of_pages, len(sizes), load_eviction(DEFAULT_EVICTION)(bytes_of_pages), admission, sizes=sizes)
    for _ in cache.replay(split):
        pass
    return cache.counts.hits, bytes_of_pages


def main(file: str, capacities: list[float]) -> None:
    """A line of Markdown for each capacity."""
    trace = parse_trace(Path(file).read_text(encoding="utf-8").splitlines())
    print(
        "| capacity | hits, single pages | hits, segments | ratio | write amplification | turnovers |\n|---|---|---|---|---|---|"
    )
    for capacity in capacities:
        best, capacity_bytes = single_pages(trace, capacity)
        with TemporaryDirectory(prefix="lsmkv-physical-") as directory:
            row = replay_store(trace, f"{directory}/store", capacity=capacity, page_bytes=SIZES)
        turns = row.written_bytes / capacity_bytes
        amplified = row.gc_write_amplification
        print(f"| {capacity:.0%} | {best:,} | {row.hits:,} | {row.hits / best:.3f} | {amplified:.2f} | {turns:.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], [float(share) for share in sys.argv[2:]] or list(CAPACITIES))
