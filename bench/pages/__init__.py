"""The pages suite: KV-cache pages of 64 KiB to 2 MiB, in every store alike, beside bare files."""

from bench.pages.scale import FULL, QUICK, Probe, Scale
from bench.pages.suite import run_pages

__all__ = ["FULL", "QUICK", "Probe", "Scale", "run_pages"]
