"""Who may change the tree during a sequence: the controller, and simpler rules to hold it against."""

from __future__ import annotations

from lsmkv.controller.decide import Books, Merge, Reshape, decide
from lsmkv.controller.prices import Mix
from lsmkv.controller.sensors import Window
from lsmkv.controller.settings import Adaptive
from lsmkv.controller.sizes import SizeTree

__all__ = ["Controlled"]


class Controlled:
    """The controller as it is in the engine."""

    def __init__(self, settings: Adaptive) -> None:
        self.settings = settings
        self.books = Books()
        self.merges = self.reshapes = self.ratios = 0

    def tick(self, tree: SizeTree, done: Mix, blocks: float) -> None:
        """One window."""
        self.books, decisions = decide(self.books, tree, Window(done, blocks), self.settings)
        for one in decisions:
            if isinstance(one, Merge):
                ids = [run.id for _, run in tree.runs()]
                if one.runs[0] in ids and one.runs[-1] in ids:
                    tree.merge(ids.index(one.runs[0]), ids.index(one.runs[-1]))
                    self.merges += 1
            elif isinstance(one, Reshape):
                self.reshapes += 1
                self.ratios += one.geometry.size_ratio != one.before.size_ratio
                tree.switch(one.geometry, patient=True)
