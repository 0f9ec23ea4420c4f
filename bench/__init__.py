"""Benchmarks of lsmkv beside the stores people would otherwise use. Run ``python -m bench --help``; see docs/benchmarks.md."""
