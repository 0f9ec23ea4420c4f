"""What tests of stores need, ours and yours: a disk that crashes, faults on demand, a clock that waits, an oracle."""

from lsmkv.testing.clock import ManualClock
from lsmkv.testing.faults import FailOp, FaultFileSystem, FlipByte, Hang, ShortWrite
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.testing.oracle import DictOracle

__all__ = [
    "DictOracle",
    "FailOp",
    "FaultFileSystem",
    "FlipByte",
    "Hang",
    "ManualClock",
    "MemoryFileSystem",
    "ShortWrite",
]
