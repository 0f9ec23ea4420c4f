from lsmkv.cost import closed_forms, gc
from lsmkv.cost.capacities import levels
from lsmkv.cost.choice import Choice, Judged, best_shape, judge
from lsmkv.cost.copies import inner_copies, load_copies, long_run_copies
from lsmkv.cost.description import system_of, workload_of
from lsmkv.cost.explaining import Compared, Explanation, explain, explain_tree
from lsmkv.cost.filters import filter_fpr, with_filters
from lsmkv.cost.fit import Fitted, Timing, fit_seconds
from lsmkv.cost.grids import default_grid, named_shapes, shape_name
from lsmkv.cost.ideal import ideal_shape
from lsmkv.cost.ledger import Measured, MeasuredLevel, measured, window
from lsmkv.cost.model import predict
from lsmkv.cost.monkey import allocate, monkey_fprs, uniform_fpr
from lsmkv.cost.pricefile import calibration, calibration_path, save_calibration
from lsmkv.cost.records import Cost, LevelCost, System, Workload
from lsmkv.cost.robust import robust_cost, worst_mix
from lsmkv.cost.seconds import PerOperation, Seconds

__all__ = [
    "Choice",
    "Compared",
    "Cost",
    "Explanation",
    "Fitted",
    "Judged",
    "LevelCost",
    "Measured",
    "MeasuredLevel",
    "PerOperation",
    "Seconds",
    "System",
    "Timing",
    "Workload",
    "allocate",
    "best_shape",
    "calibration",
    "calibration_path",
    "closed_forms",
    "default_grid",
    "explain",
    "explain_tree",
    "filter_fpr",
    "fit_seconds",
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
    "save_calibration",
    "shape_name",
    "system_of",
    "uniform_fpr",
    "window",
    "with_filters",
    "workload_of",
    "worst_mix",
]
