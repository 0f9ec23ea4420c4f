"""Every number that the controller was tuned by, in one place.

The sequences that ``lsmkv lab phases`` reports are drawn from the SHA-256 of this file: whoever changes a number here is
judged on workloads that nobody has seen before. Tune on other seeds (``lsmkv lab phases --seed``).
"""

from __future__ import annotations

__all__ = [
    "BUY_AT",
    "CHANGED",
    "DRIFT_MOST",
    "FAST",
    "FEWEST_OPERATIONS",
    "KEEP",
    "LOOKS",
    "MERGES_AT_ONCE",
    "OUTCOME_AFTER",
    "ROUND_TRIPS",
    "SHAPE_EVERY",
    "SHARE",
    "SIZE_RATIOS",
    "SLOW",
]

LOOKS = 400
"""A window ends when this part of as many operations as the tree holds entries has passed."""

FEWEST_OPERATIONS = 256
"""No window is shorter."""

FAST, SLOW = 0.03, 0.5
"""Horizons of the two averages of the mix, in operations per entry of the tree."""

CHANGED = 0.7
"""Relative entropy (nats) of two windows running against the fast average from which it is begun anew."""

DRIFT_MOST = 0.5
"""The radius of the robust choice, in nats, is how far the fast average is from the slow one on average, at most this."""

BUY_AT = 0.85
"""Runs are merged when the reads that they cost have paid for this part of the merge."""

ROUND_TRIPS = 1.0
"""The size ratio changes when what another one would have saved has paid for going there and coming back, so many times."""

KEEP = 0.97
"""Runs per level change only if the predicted cost falls below this part of the present one's."""

SIZE_RATIOS = (4, 7, 10)
"""Size ratios to choose from."""

SHAPE_EVERY = 4
"""Windows between two thoughts about size ratio and runs per level; a change of the mix is thought about at once."""

MERGES_AT_ONCE = 4
"""Merges that one window may start."""

SHARE = 0.5
"""Transitions may take at most this part of all I/O."""

OUTCOME_AFTER = 20
"""Windows after which a decision is held against its prediction."""
