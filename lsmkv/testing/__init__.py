"""For tests of stores, ours and yours: disks that crash, fail on demand or count, clocks and schedulers that wait, an oracle."""

from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.counting import CountingFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem, FlipByte, Hang, ShortWrite
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.testing.oracle import DictOracle

__all__ = [
    "CountingFileSystem",
    "DictOracle",
    "FailOp",
    "FaultFileSystem",
    "FlipByte",
    "Hang",
    "ManualClock",
    "ManualScheduler",
    "MemoryFileSystem",
    "ShortWrite",
]
