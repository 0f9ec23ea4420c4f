"""Where the controller meets the engine: looking now and then, and merging what reads have paid for.

The compaction worker looks before each task, and every ``LOOK_S`` while it has none, so that a store that is only read is
looked at, too. A look is a difference of two accounts of the ledger; nothing is counted for it on the path of any call. What
decides is :mod:`lsmkv.maintain.pilot`, loaded when somebody wants a controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from lsmkv.controller.settings import Adaptive
from lsmkv.controller.told import ControllerStats
from lsmkv.env.clock import thread_cpu_s
from lsmkv.errors import LsmError
from lsmkv.live.core import Core
from lsmkv.policy.base import Task
from lsmkv.version.shape import TreeShape

if TYPE_CHECKING:
    from lsmkv.maintain.pilot import Pilot

__all__ = ["LOOK_S", "Steering"]

LOOK_S = 0.25
"""Seconds between two looks of an idle worker."""


class Steering:
    """The controller's place in an open store; does nothing unless ``Options.controller`` says so."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pilot: Pilot | None = None
        self._broken: tuple[Adaptive, str] | None = None
        """The settings with which the controller failed, and how: it is not asked again with these."""

    @property
    def active(self) -> bool:
        """Whether a controller is wanted now."""
        return self._settings is not None

    @property
    def _settings(self) -> Adaptive | None:
        """The controller's settings in force; None: there is none, or it is off."""
        settings = self._core.options.controller
        return None if settings is None or settings.mode == "off" else settings

    def look(self) -> None:
        """Decide, if a window of operations has passed (compaction lock held). I/O: the journal; a manifest edit for a switch."""
        settings = self._settings
        if settings is None:
            self._pilot = self._broken = None
            return
        if self._broken is not None and self._broken[0] is settings:
            return
        if self._pilot is None:
            from lsmkv.maintain.pilot import Pilot  # noqa: PLC0415 - most stores have no controller

            self._pilot = Pilot(self._core)
        began = thread_cpu_s()
        try:
            self._pilot.look(settings)
        except LsmError:  # a switch that the disk refused: told and tried again like any other work
            raise
        except Exception as error:  # noqa: BLE001 - compactions matter more than a controller that a policy confuses
            self._broken = (settings, f"it failed and was stopped ({error!r}); db.set_options(controller=...) starts it again")
            self._core.work.failures += 1
        else:
            self._broken = None
        finally:
            self._pilot.look_s += thread_cpu_s() - began

    @property
    def _acting(self) -> bool:
        """Whether the controller may change the tree."""
        settings = self._settings
        return settings is not None and settings.mode == "on"

    def peek(self, shape: TreeShape) -> Task | None:
        """What :meth:`wanted` would give, without the lock. I/O: none."""
        pilot = self._pilot  # the worker may let go of it at any moment
        return pilot.peek(shape) if pilot is not None and self._acting else None

    def wanted(self, shape: TreeShape) -> Task | None:
        """The next merge that was decided and can be done; None: there is none. I/O: none."""
        pilot = self._pilot
        return pilot.wanted(shape) if pilot is not None and self._acting else None

    @contextmanager
    def watching(self, task: Task) -> Iterator[None]:
        """Around running ``task``: if it is one of the controller's, what it costs is its outcome."""
        pilot = self._pilot
        if pilot is None or not pilot.owns(task):
            yield
            return
        before = pilot.merged_entries()
        yield
        pilot.ran(pilot.merged_entries() - before)

    def stats(self) -> ControllerStats | None:
        """What it does; None: there is no controller. I/O: none."""
        settings = self._core.options.controller
        if settings is None:
            return None
        pilot, broken = self._pilot, self._broken  # the worker may let go of them at any moment
        if pilot is not None and settings.mode != "off":
            told = pilot.stats(settings)
            return told if broken is None else replace(told, idle=broken[1])
        idle = 'the mode is "off"' if settings.mode == "off" else "it has not looked yet"
        return ControllerStats(settings.mode, idle, 0, 0, {}, {}, 0.0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0.0)
