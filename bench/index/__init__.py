"""The index suite: small values under page-like keys, in every store alike."""

from bench.index.scale import FULL, QUICK, Scale
from bench.index.suite import run_index

__all__ = ["FULL", "QUICK", "Scale", "run_index"]
