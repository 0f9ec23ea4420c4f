"""What an operation costs, by arithmetic alone: filter memory, lookups, scans, writes, space.

Nothing here does I/O or reads a clock: the same functions serve the engine, the simulator and the controller.

The engine needs little of it, so each name is imported when it is first asked for; ``__init__.pyi`` has them all for tools.
"""

from lsmkv.cost.later import later

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

__where__ = {
    "Choice": "lsmkv.cost.choice",
    "Cost": "lsmkv.cost.records",
    "Judged": "lsmkv.cost.choice",
    "LevelCost": "lsmkv.cost.records",
    "Measured": "lsmkv.cost.ledger",
    "MeasuredLevel": "lsmkv.cost.ledger",
    "PerOperation": "lsmkv.cost.seconds",
    "Seconds": "lsmkv.cost.seconds",
    "System": "lsmkv.cost.records",
    "Workload": "lsmkv.cost.records",
    "allocate": "lsmkv.cost.monkey",
    "best_shape": "lsmkv.cost.choice",
    "closed_forms": "lsmkv.cost.closed_forms",
    "default_grid": "lsmkv.cost.grids",
    "filter_fpr": "lsmkv.cost.filters",
    "gc": "lsmkv.cost.gc",
    "ideal_shape": "lsmkv.cost.ideal",
    "inner_copies": "lsmkv.cost.copies",
    "judge": "lsmkv.cost.choice",
    "levels": "lsmkv.cost.capacities",
    "load_copies": "lsmkv.cost.copies",
    "long_run_copies": "lsmkv.cost.copies",
    "measured": "lsmkv.cost.ledger",
    "monkey_fprs": "lsmkv.cost.monkey",
    "named_shapes": "lsmkv.cost.grids",
    "predict": "lsmkv.cost.model",
    "robust_cost": "lsmkv.cost.robust",
    "shape_name": "lsmkv.cost.grids",
    "uniform_fpr": "lsmkv.cost.monkey",
    "window": "lsmkv.cost.ledger",
    "with_filters": "lsmkv.cost.filters",
    "worst_mix": "lsmkv.cost.robust",
}
__getattr__ = later("lsmkv.cost", __where__)
__dir__ = __all__.copy
