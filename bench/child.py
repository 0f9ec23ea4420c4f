"""Work in a process of its own: ``python -m bench.child TASK JSON`` does it and prints JSON.

Used where the harness's own process would spoil the figure: other stores' threads beside a ticking one, a process that is killed.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["TASKS", "ask"]

TASKS = {
    "ticks": "bench.index.ticks",
    "busy": "bench.index.busy",
    "page-ticks": "bench.pages.ticks",
    "killed": "bench.index.opening",
    "pages-opening": "bench.pages.opening",
    "pages-restart": "bench.pages.opening:restart",
    "pages-memory": "bench.pages.opening:weigh",
    "pages-reclaiming": "bench.pages.reclaiming",
}
"""By name, the module whose ``child(**order)``, or the function named after a colon, does it."""

_KILLED = -9

_PATIENCE_S = 900


def ask(task: str, **order: Any) -> Any:
    """The answer of ``task`` done in a child; None if it killed itself. Raises RuntimeError with its last words if it fails."""
    command = [sys.executable, "-m", "bench.child", task, json.dumps(order)]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        msg = f"no answer within {_PATIENCE_S} s"
        raise RuntimeError(msg) from error
    if done.returncode == _KILLED:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    where, _, function = TASKS[sys.argv[1]].partition(":")
    print(json.dumps(getattr(importlib.import_module(where), function or "child")(**json.loads(sys.argv[2]))))
