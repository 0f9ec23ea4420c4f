"""A log-structured merge-tree engine in pure Python: a sorted map from bytes to bytes that survives."""

from lsmkv import cost
from lsmkv.batch import WriteBatch
from lsmkv.controller.prices import Prices
from lsmkv.controller.settings import Adaptive
from lsmkv.controller.told import ControllerStats
from lsmkv.db import DB, open  # noqa: A004 - the door of design: lsmkv.open(path)
from lsmkv.errors import (
    BusyError,
    ClosedError,
    CorruptionError,
    FormatTooNewError,
    InvalidArgumentError,
    IOFailedError,
    LockedError,
    LsmError,
    NoSpaceError,
    PoisonedError,
    ReadOnlyError,
)
from lsmkv.follow import Follower, FollowerStats
from lsmkv.iterator import Scan
from lsmkv.maintain.load import LoadReport
from lsmkv.observe.stats import LevelStats, Stats
from lsmkv.observe.verify import VerifyReport, verify
from lsmkv.options import Options
from lsmkv.policy.fifo import FIFO
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered
from lsmkv.policy.transition import TransitionReport
from lsmkv.recover.repair import repair
from lsmkv.recover.repair_report import RepairReport
from lsmkv.simulation import Writes, simulate
from lsmkv.snapshot import Snapshot
from lsmkv.version.shape import TreeShape

__all__ = [
    "DB",
    "FIFO",
    "Adaptive",
    "BusyError",
    "ClosedError",
    "ControllerStats",
    "CorruptionError",
    "Fluid",
    "Follower",
    "FollowerStats",
    "FormatTooNewError",
    "IOFailedError",
    "InvalidArgumentError",
    "LazyLeveling",
    "LevelStats",
    "Leveled",
    "LoadReport",
    "LockedError",
    "LsmError",
    "NoSpaceError",
    "Options",
    "PoisonedError",
    "Prices",
    "ReadOnlyError",
    "RepairReport",
    "Scan",
    "Snapshot",
    "Stats",
    "Tiered",
    "TransitionReport",
    "TreeShape",
    "VerifyReport",
    "WriteBatch",
    "Writes",
    "cost",
    "open",
    "repair",
    "simulate",
    "verify",
]
