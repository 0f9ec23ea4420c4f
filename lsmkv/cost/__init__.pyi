from lsmkv.cost import closed_forms
from lsmkv.cost.capacities import levels
from lsmkv.cost.copies import inner_copies, load_copies, long_run_copies
from lsmkv.cost.filters import filter_fpr, with_filters
from lsmkv.cost.ideal import ideal_shape
from lsmkv.cost.ledger import Measured, MeasuredLevel, measured, window
from lsmkv.cost.model import predict
from lsmkv.cost.monkey import allocate, monkey_fprs, uniform_fpr
from lsmkv.cost.records import Cost, LevelCost, System, Workload

__all__ = [
    "Cost",
    "LevelCost",
    "Measured",
    "MeasuredLevel",
    "System",
    "Workload",
    "allocate",
    "closed_forms",
    "filter_fpr",
    "ideal_shape",
    "inner_copies",
    "levels",
    "load_copies",
    "long_run_copies",
    "measured",
    "monkey_fprs",
    "predict",
    "uniform_fpr",
    "window",
    "with_filters",
]
