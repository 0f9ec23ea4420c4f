"""Lesson 8, starter code: a tree that changes its shape at every whim."""

LAZY, MERGED = 0, 1
"""The two shapes: many runs, cheap to write; one run, cheap to read."""


class Switcher:
    """Decides, after each operation, which shape the tree has for the next one. It does not know what will come."""

    def __init__(self, merge_blocks: float) -> None:
        """Going from LAZY to MERGED costs ``merge_blocks``; going back is free. The tree begins LAZY."""
        self.merge_blocks = merge_blocks
        self.shape = LAZY

    def after(self, costs: tuple[float, float]) -> int:
        """An operation that costs ``costs[LAZY]`` or ``costs[MERGED]`` blocks was just done; the shape from now on."""
        # YOUR TURN: this goes wherever the last operation would have been cheaper, and pays for a merge each time.
        self.shape = MERGED if costs[MERGED] < costs[LAZY] else LAZY
        return self.shape
