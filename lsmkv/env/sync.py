"""The threading seam: the only primitives the engine takes from :mod:`threading`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import Condition, Event, Lock, RLock
from threading import get_ident as current_thread_id  # tells the calling thread from others alive now

__all__ = ["Condition", "Event", "Lock", "RLock", "current_thread_id", "ends_the_process", "start_thread"]


def ends_the_process(error: BaseException) -> bool:
    """Whether what a callback raised here is to end the process, and no mere failure: an exit or an interrupt in the main thread.

    In another thread an exit ends that thread alone, without a word: whoever waits for what it does would wait for ever.
    """
    return not isinstance(error, Exception) and threading.main_thread().ident == current_thread_id()


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start a daemon thread with a name that shows in tools."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
