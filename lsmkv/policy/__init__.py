"""Compaction policies: what to merge next, decided from the shape of the tree alone."""

from lsmkv.policy.base import Policy, RunInput, Task
from lsmkv.policy.fifo import FIFO
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered

__all__ = ["FIFO", "Fluid", "LazyLeveling", "Leveled", "Policy", "RunInput", "Task", "Tiered"]
