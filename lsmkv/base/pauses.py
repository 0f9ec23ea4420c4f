"""How work that others stand aside for says where they need not: ``with pause:`` around what needs no interpreter, or waits.

Who stands aside, and why, is :mod:`lsmkv.live.courtesy`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

__all__ = ["UNMINDED", "Pause"]

Pause: TypeAlias = AbstractContextManager[object]
"""Entered where nobody need stand aside; may be entered again and again."""

UNMINDED: Pause = nullcontext()
"""Of work that nobody stands aside for."""
