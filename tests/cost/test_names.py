"""What ``lsmkv.cost`` offers is fixed, and no name of a function hides behind a module of the same name."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

from lsmkv import cost

FIXED = {
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
}


def test_the_names_are_fixed() -> None:
    assert set(cost.__all__) >= FIXED
    assert {name for name in cost.__all__ if isinstance(getattr(cost, name), ModuleType)} == {"closed_forms", "gc"}


def test_a_function_stays_itself_whatever_was_imported_before() -> None:
    """``cost.judge`` was the module of that name, once another name of it had been asked for."""
    program = (
        "import pkgutil, importlib, types, lsmkv.cost as cost\n"
        "for module in pkgutil.walk_packages(cost.__path__, 'lsmkv.cost.'): importlib.import_module(module.name)\n"
        "print(*sorted(n for n in cost.__all__ if isinstance(getattr(cost, n), types.ModuleType)))"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["closed_forms", "gc"]
