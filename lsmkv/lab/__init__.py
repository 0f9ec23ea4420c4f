"""The laboratory: policies at work on simulated trees and on the engine, predictions beside measurements, and their pictures."""

from lsmkv.lab.ablation import ablate, policies_of
from lsmkv.lab.curves import curves
from lsmkv.lab.named import MIXES, NAMED, YCSB
from lsmkv.lab.rows import Row, Simulation
from lsmkv.lab.scores import choices, score, seconds
from lsmkv.lab.simulator import Simulator, Switch
from lsmkv.lab.tidy import Rows
from lsmkv.lab.validation import Sizes, validate
from lsmkv.lab.workload import Mix, Phase, Workload
from lsmkv.lab.workload_yaml import find_workload, parse_workload, read_workload, workload_yaml
from lsmkv.simulation import Writes, simulate

__all__ = [
    "MIXES",
    "NAMED",
    "YCSB",
    "Mix",
    "Phase",
    "Row",
    "Rows",
    "Simulation",
    "Simulator",
    "Sizes",
    "Switch",
    "Workload",
    "Writes",
    "ablate",
    "choices",
    "curves",
    "find_workload",
    "parse_workload",
    "policies_of",
    "read_workload",
    "score",
    "seconds",
    "simulate",
    "validate",
    "workload_yaml",
]
