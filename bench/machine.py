"""What a result was measured on: enough to judge it, nothing that identifies anybody."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import time
from pathlib import Path

__all__ = ["describe_machine", "today", "versions"]

_PACKAGES = (
    "lsmkv",
    "numpy",
    "mmh3",
    "xxhash",
    "zstandard",
    "rocksdict",
    "plyvel",
    "lmdb",
    "sortedcontainers",
    "safetensors",
    "diskcache",
    "torch",
    "sglang",
    "vllm",
    "lmcache",
)


def describe_machine(path: Path) -> dict[str, str | int]:
    """Processor, cores, memory, kernel, and the file system that ``path`` lies on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(path),
        "read_ahead_kib": _read_ahead(path),
    }


def versions() -> dict[str, str]:
    """Python, SQLite and every package that takes part, where installed."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def today() -> str:
    """The date, UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def _field(path: str, name: str) -> str | None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None


def _read_ahead(path: Path) -> int:
    """The kernel's read-ahead for the device below ``path``, or -1: cold buffered reads depend on it."""
    number = path.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for setting in (device / "queue/read_ahead_kb", device.resolve().parent / "queue/read_ahead_kb"):  # a disk, a partition
        if setting.exists():
            return int(setting.read_text(encoding="ascii"))
    return -1


def _file_system(path: Path) -> str:
    """Type of the mount with the longest path above ``path``."""
    best = ("", "unknown")
    real = str(path.resolve())
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, where, kind = line.split()[:3]
        inside = real == where or real.startswith(where.rstrip("/") + "/")
        if inside and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]
