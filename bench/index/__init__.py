"""The index suite: small values under page-like keys, in every store alike."""

from bench.index.groups import GROUPS, run_groups
from bench.index.scale import FULL, QUICK, Scale
from bench.index.suite import run_core

__all__ = ["FULL", "GROUPS", "QUICK", "Scale", "run_core", "run_groups"]
