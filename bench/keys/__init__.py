"""The keys suite: three ways to name the pages of a sequence, and what each costs an ordered index."""

from bench.keys.suite import run_keys

__all__ = ["run_keys"]
