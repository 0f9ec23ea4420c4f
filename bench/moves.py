"""What each setting of garbage collection hits and writes: ``python -m bench.moves TRACE [REQUESTS]`` (half a minute each).

The first requests of a Mooncake-format trace against a real page store of 5 % of their distinct blocks, pages of 8 KiB; the
bounds that a controller would choose between are held fast, one after the other.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from lsmkv_tensor.retention.steering_moves import RUNGS
from lsmkv_tensor.trace import Row, parse_trace, replay_store
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.gc import Collector
from lsmkv_tensor.vlog.log import ValueLog

PAGE = 8 << 10


def held(rung: str, lines: list[str], path: str) -> Row:
    """A replay with one setting."""
    begin = Collector.__init__

    def begin_bound(self: Collector, log: ValueLog, files: SegmentFiles) -> None:
        """As always, and with its bounds."""
        begin(self, log, files)
        self.bound_moves(*RUNGS[rung])

    with patch.object(Collector, "__init__", begin_bound):
        return replay_store(parse_trace(lines), path, capacity=0.05, page_bytes=PAGE)


def main(trace: Path, requests: int) -> None:
    """All settings, a line each."""
    lines = trace.read_text(encoding="utf-8").splitlines()[:requests]
    for rung in RUNGS:
        with TemporaryDirectory() as directory:
            row = held(rung, lines, f"{directory}/store")
        written, moved, amplified = row.written_bytes / 1e6, row.moved_bytes / 1e6, row.gc_write_amplification
        print(f"{rung:7} {row.hits:7,} hits, {written:,.0f} MB written, {moved:,.0f} of them moved, {amplified:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2_500)
