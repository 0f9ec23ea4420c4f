"""What an operation costs, by arithmetic alone: filter memory, lookups, scans, writes, space.

Nothing here does I/O or reads a clock: the same functions serve the engine, the simulator and the controller.
"""

from lsmkv.cost.filters import filter_fpr, with_filters
from lsmkv.cost.ledger import Measured, MeasuredLevel, measured, window
from lsmkv.cost.levels import levels
from lsmkv.cost.monkey import allocate, monkey_fprs, uniform_fpr

__all__ = [
    "Measured",
    "MeasuredLevel",
    "allocate",
    "filter_fpr",
    "levels",
    "measured",
    "monkey_fprs",
    "uniform_fpr",
    "window",
    "with_filters",
]
