"""The memory of one store in a process of its own: ``python -m bench.memory JSON``, prints JSON.

The parent cannot measure this: it holds every store and all the data at once. The child opens the store, reads keys from a file
(which fills the block cache), and tells how far its resident set has grown beyond the bare interpreter, anonymous memory and
mapped file pages apart, together with the time of a get at that memory. The harness's own imports are left out; NumPy is counted
for the stores that need it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["KEY_BYTES", "Footprint", "measure_memory", "write_keys"]

KEY_BYTES = 32

_BATCHED = 50_000
"""Keys that are also read in batches: the figure is that of single gets."""

_FIELDS = ("VmRSS", "RssAnon", "RssFile")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a store takes and gives."""

    resident_mib: float
    """Everything beyond the interpreter."""
    anonymous_mib: float
    """Its own memory: caches, filters, buffers."""
    file_mib: float
    """Mapped file pages: data of stores that map it, code of the binding."""
    get_us: float
    """A single get of a random key, at this memory."""


def write_keys(path: Path, warm: Sequence[bytes], drawn: Sequence[bytes]) -> int:
    """The file the child reads: all of ``warm``, then ``drawn``, each of 32 bytes; the number of drawn ones."""
    path.write_bytes(b"".join((*warm, *drawn)))
    return len(drawn)


def measure_memory(
    subject: str, path: Path, keys_file: Path, drawn: int, *, cache_bytes: int = 32 << 20, value_bytes: int = 28
) -> Footprint:
    """Weigh ``subject`` at ``path``: the keys before the last ``drawn`` in the file are read once, in batches, those by gets.

    A subject that keeps nothing on disk is filled with them instead. Raises RuntimeError with the child's last words if it fails.
    """
    order = {"subject": subject, "path": str(path), "keys_file": str(keys_file), "drawn": drawn}
    order |= {"cache_bytes": cache_bytes, "value_bytes": value_bytes}
    command = [sys.executable, "-m", "bench.memory", json.dumps(order)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else f"exit code {done.returncode}")
    return Footprint(**json.loads(done.stdout))


def _resident() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.partition(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith(_FIELDS)}
    if len(found) < len(_FIELDS):
        msg = f"/proc/self/status lacks one of {', '.join(_FIELDS)}: memory can only be measured on Linux"
        raise RuntimeError(msg)
    return found


def _main(subject: str, path: str, keys_file: str, drawn: int, cache_bytes: int, value_bytes: int) -> Footprint:
    bare = _resident()
    import numpy as np  # noqa: F401, PLC0415 - imported here to weigh it

    with_numpy = _resident()
    from bench.peers import Settings, index_peer  # noqa: PLC0415 - after the scale has been read

    flat = Path(keys_file).read_bytes()
    keys = [flat[i : i + KEY_BYTES] for i in range(0, len(flat), KEY_BYTES)]
    warm, asked = keys[: len(keys) - drawn], keys[len(keys) - drawn :]
    kind = index_peer(subject)
    before = _resident()
    peer = kind(Path(path), Settings(cache_bytes=cache_bytes))
    peer.start_reading()
    if kind.durable:
        for start in range(0, len(warm), 128):
            peer.get_many(warm[start : start + 128])
    else:
        peer.put_many([(key, os.urandom(value_bytes)) for key in warm])
    for key in asked:
        peer.get(key)
    for start in range(0, min(len(asked), _BATCHED), 128):
        peer.get_many(asked[start : start + 128])
    get = peer.get
    began = time.perf_counter()
    for key in asked:
        get(key)
    get_us = (time.perf_counter() - began) * 1e6 / len(asked)
    share = {name: with_numpy[name] - bare[name] if kind.needs_numpy else 0 for name in _FIELDS}
    grown = [(now - before[name] + share[name]) / (1 << 20) for name, now in ((name, _resident()[name]) for name in _FIELDS)]
    peer.close()
    resident, anonymous, mapped = grown
    return Footprint(resident, anonymous, mapped, get_us)


if __name__ == "__main__":
    print(json.dumps(asdict(_main(**json.loads(sys.argv[1])))))
