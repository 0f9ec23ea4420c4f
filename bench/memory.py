"""The memory of one store in a process of its own: ``python -m bench.memory SUBJECT PATH KEYS_FILE``, prints bytes.

The parent cannot measure this: it holds every store and all the data at once. The child opens the store, reads every key in the
file (which fills the block cache), and tells how far its resident set has grown beyond the bare interpreter. The harness's own
imports are left out; NumPy is counted for the stores that need it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["measure_memory"]

KEY_BYTES = 32


def measure_memory(subject: str, path: Path, keys_file: Path) -> float:
    """MiB of resident memory beyond the interpreter; raises RuntimeError with the child's last words if it fails."""
    command = [sys.executable, "-m", "bench.memory", subject, str(path), str(keys_file)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else f"exit code {done.returncode}")
    return int(done.stdout) / (1 << 20)


def _rss() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    msg = "/proc/self/status has no VmRSS line: memory can only be measured on Linux"
    raise RuntimeError(msg)


def _main(subject: str, path: str, keys_file: str) -> None:
    bare = _rss()
    import numpy as np  # noqa: F401, PLC0415 - imported here to weigh it

    numpy_share = _rss() - bare
    from bench.peers import INDEX_PEERS, Settings  # noqa: PLC0415 - after the scale has been read

    flat = Path(keys_file).read_bytes()
    keys = [flat[i : i + KEY_BYTES] for i in range(0, len(flat), KEY_BYTES)]
    kind = next(kind for kind in INDEX_PEERS if kind.name == subject)
    before = _rss()
    peer = kind(Path(path), Settings())
    for key in keys:
        peer.get(key)
    for start in range(0, len(keys), 128):
        peer.get_many(keys[start : start + 128])
    grown = _rss() - before + (numpy_share if kind.needs_numpy else 0)
    peer.close()
    print(grown)


if __name__ == "__main__":
    _main(*sys.argv[1:])
