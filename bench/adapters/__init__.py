"""``python -m bench adapters``: ours beside the backends that engines bring, on the same calls and the same memory."""

from bench.adapters.suite import ENGINES, run_adapters

__all__ = ["ENGINES", "run_adapters"]
