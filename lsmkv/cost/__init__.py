"""What an operation costs, by arithmetic alone: filter memory, lookups, scans, writes, space.

Nothing here does I/O or reads a clock: the same functions serve the engine, the simulator and the controller.

The engine needs little of it, so each name is imported when it is first asked for; ``__init__.pyi`` has them all for tools.
"""

from lsmkv.cost.later import later

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

__where__ = {
    "Cost": "lsmkv.cost.records",
    "LevelCost": "lsmkv.cost.records",
    "Measured": "lsmkv.cost.ledger",
    "MeasuredLevel": "lsmkv.cost.ledger",
    "System": "lsmkv.cost.records",
    "Workload": "lsmkv.cost.records",
    "allocate": "lsmkv.cost.monkey",
    "closed_forms": "lsmkv.cost.closed_forms",
    "filter_fpr": "lsmkv.cost.filters",
    "ideal_shape": "lsmkv.cost.ideal",
    "inner_copies": "lsmkv.cost.copies",
    "levels": "lsmkv.cost.capacities",
    "load_copies": "lsmkv.cost.copies",
    "long_run_copies": "lsmkv.cost.copies",
    "measured": "lsmkv.cost.ledger",
    "monkey_fprs": "lsmkv.cost.monkey",
    "predict": "lsmkv.cost.model",
    "uniform_fpr": "lsmkv.cost.monkey",
    "window": "lsmkv.cost.ledger",
    "with_filters": "lsmkv.cost.filters",
}
__getattr__ = later("lsmkv.cost", __where__)
__dir__ = __all__.copy
