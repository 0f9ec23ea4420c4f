"""Compaction policies: what to merge next, decided from the shape of the tree alone."""

from lsmkv.policy.base import Policy, RunInput, Task
from lsmkv.policy.leveled import Leveled

__all__ = ["Leveled", "Policy", "RunInput", "Task"]
