"""Lesson 8, a solution: change when staying has cost more, since it last was no mistake, than going and coming back."""

LAZY, MERGED = 0, 1
"""The two shapes: many runs, cheap to write; one run, cheap to read."""


class Switcher:
    """Decides, after each operation, which shape the tree has for the next one. It does not know what will come."""

    def __init__(self, merge_blocks: float) -> None:
        """Going from LAZY to MERGED costs ``merge_blocks``; going back is free. The tree begins LAZY."""
        self.merge_blocks = merge_blocks
        self.shape = LAZY
        self.regret = 0.0

    def after(self, costs: tuple[float, float]) -> int:
        """An operation that costs ``costs[LAZY]`` or ``costs[MERGED]`` blocks was just done; the shape from now on."""
        other = MERGED if self.shape == LAZY else LAZY
        self.regret = max(0.0, self.regret + costs[self.shape] - costs[other])
        # Also on the way to LAZY, which is free: who goes there will want to come back.
        if self.regret >= self.merge_blocks:
            self.shape, self.regret = other, 0.0
        return self.shape
