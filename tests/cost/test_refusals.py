"""What makes no sense is refused by name, with one sentence: no AttributeError from deep inside, no overflow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lsmkv
from lsmkv import cost
from lsmkv.cost import closed_forms
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy import Fluid, Leveled, Tiered

SMALL = lsmkv.Writes(entries=1000, memtable=100)
WRONG: dict[str, tuple[str, Callable[[], object]]] = {
    "a rule that is no text": (r"partial=\[\]: must be None or one of", lambda: Leveled(4, partial=[])),
    "runs in a list": ("an integer from 1 to 6, or a tuple of them, one for each level", lambda: Fluid(7, K=[3, 2])),
    "a class for a policy": (r"did you mean Leveled\(\)", lambda: cost.ideal_shape(Leveled, 1000, flush_entries=10)),
    "no geometry for a load": (r"geometry must be a Geometry \(policy.geometry\), not 5", lambda: cost.load_copies(5, 3)),
    "no geometry for ever": ("geometry must be a Geometry", lambda: cost.long_run_copies(None, 1, 10)),
    "no tree": ("shape must be a TreeShape", lambda: cost.with_filters(None, 3)),
    "no store to watch": ("store must be an open store", lambda: cost.window(None)),
    "no store to measure": ("store must be an open store", lambda: cost.measured(5)),
    "no switch": ("switches must be lsmkv.lab.Switch", lambda: lsmkv.simulate(Leveled(4), SMALL, switches=[(1, Tiered(4))])),
    "a ratio beyond floats": ("size_ratio must be", lambda: closed_forms.inner_fpr(10, 1e308, 1)),
    "a ratio that gives no number": ("size_ratio must be", lambda: closed_forms.update_exact(1e308, 1)),
    "levels beyond floats": ("above_last must be", lambda: closed_forms.inner_fpr(10, 10, 1e6)),
}


@pytest.mark.parametrize(("words", "call"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(words: str, call: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        call()


def test_a_follower_has_no_totals_to_measure(tmp_path) -> None:
    with lsmkv.open(tmp_path) as db, lsmkv.open(tmp_path, read_only=True) as follower:
        db.put(b"k", b"v")
        with pytest.raises(InvalidArgumentError, match="store must be open for writing"):
            cost.measured(follower)
