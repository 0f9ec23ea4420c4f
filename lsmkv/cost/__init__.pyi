from lsmkv.cost import closed_forms, gc
from lsmkv.cost.capacities import levels
from lsmkv.cost.choice import Choice, Judged, best_shape, judge
from lsmkv.cost.copies import inner_copies, load_copies, long_run_copies
from lsmkv.cost.filters import filter_fpr, with_filters
from lsmkv.cost.grids import default_grid, named_shapes, shape_name
from lsmkv.cost.ideal import ideal_shape
from lsmkv.cost.ledger import Measured, MeasuredLevel, measured, window
from lsmkv.cost.model import predict
from lsmkv.cost.monkey import allocate, monkey_fprs, uniform_fpr
from lsmkv.cost.records import Cost, LevelCost, System, Workload
from lsmkv.cost.robust import robust_cost, worst_mix
from lsmkv.cost.seconds import PerOperation, Seconds

__all__ = [
    "Choice",
    "Cost",
    "Judged",
    "LevelCost",
    "Measured",
    "MeasuredLevel",
    "PerOperation",
    "Seconds",
    "System",
    "Workload",
    "allocate",
    "best_shape",
    "closed_forms",
    "default_grid",
    "filter_fpr",
    "gc",
    "ideal_shape",
    "inner_copies",
    "judge",
    "levels",
    "load_copies",
    "long_run_copies",
    "measured",
    "monkey_fprs",
    "named_shapes",
    "predict",
    "robust_cost",
    "shape_name",
    "uniform_fpr",
    "window",
    "with_filters",
    "worst_mix",
]
