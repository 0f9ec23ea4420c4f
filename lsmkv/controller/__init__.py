"""The controller: it watches what is asked of the tree, decides what shape suits that, and says so before it does it.

Everything here is pure (:func:`lsmkv.controller.decide.decide`: books, tree and window in, decisions out); :mod:`lsmkv.maintain`
looks and acts.
"""

from lsmkv.controller.prices import Prices
from lsmkv.controller.settings import Adaptive

__all__ = ["Adaptive", "Prices"]
