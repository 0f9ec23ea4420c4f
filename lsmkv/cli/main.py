"""The entry point: start the command, or say what is missing."""

from __future__ import annotations

import atexit
import signal
import sys
from importlib.util import find_spec

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130


def main() -> None:
    """Run ``lsmkv`` on the process's arguments and exit. Without the ``cli`` extra: one line saying how to get it."""
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"lsmkv: the command needs {' and '.join(missing)}: pip install 'lsmkv[cli]'\n")
        sys.exit(USAGE_ERROR)
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # what is done is done: a late Ctrl-C makes no failure of it
    try:
        from lsmkv.cli.app import build  # noqa: PLC0415 - only here is it known that its imports will succeed

        build()()
    except KeyboardInterrupt:  # while it still imports; commands see to their own
        sys.exit(INTERRUPTED)
