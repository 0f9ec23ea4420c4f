"""What all tests share: no property is judged by the clock, whatever else the machine does meanwhile."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
