"""The seams to the machine (files, clocks, chance, threads) and the real thing behind each."""

from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import File, FileLock, FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.env.rng import Rng, seeded
from lsmkv.env.scheduling import Scheduler, Worker

__all__ = [
    "Clock",
    "File",
    "FileLock",
    "FileSystem",
    "PosixFileSystem",
    "Rng",
    "Scheduler",
    "SystemClock",
    "Worker",
    "seeded",
]
