"""Damaged files: never wrong bytes, never an error that reaches the engine, and no more lost than what was damaged.

Damage is done twice: beside an open backend, and to a closed one that is opened again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from lsmkv_tensor.testing.conformance.damage import Found, cut, flip, remove, spoil
from lsmkv_tensor.testing.conformance.trial import Trial, fail, key

__all__ = ["bit_flip", "healing", "missing_data", "one_bad_page", "truncation"]

IDS = list(range(8))
BAD = 4
"""The page that is damaged."""


def truncation(trial: Trial) -> None:
    """A file that ends in the middle of a page costs pages, and nothing else."""
    _harmless(trial, cut)


def bit_flip(trial: Trial) -> None:
    """A page of which one bit changed is not delivered."""
    _harmless(trial, flip)


def missing_data(trial: Trial) -> None:
    """A file that is gone costs pages, and nothing else."""
    _harmless(trial, remove)


def one_bad_page(trial: Trial) -> None:
    """Of a batch with one damaged page all the others are delivered."""
    trial.start()
    ids = list(range(32))
    trial.put(ids)
    trial.damage(BAD, partial(spoil, page_bytes=trial.subject.page_bytes))
    others = [flag for i, flag in zip(ids, _flags_only(trial, ids), strict=True) if i != BAD]
    if not all(others):
        fail(f"{others.count(False)} undamaged pages of 31 were not delivered")


def healing(trial: Trial) -> None:
    """A damaged page that was asked for can be stored again."""
    trial.start()
    trial.put(IDS)
    trial.damage(BAD, partial(spoil, page_bytes=trial.subject.page_bytes))
    with suppress(Exception):  # that is another case
        _flags_only(trial, IDS)
    trial.expect_all([BAD], trial.put([BAD]), "damaged before, not taken again")
    trial.expect_all(IDS, trial.get(IDS), "not delivered after the damaged page was stored again")


def _harmless(trial: Trial, how: Callable[[list[Found]], None]) -> None:
    """Wrong bytes and errors are nobody's, and the backend goes on, with such damage done beside it and before it is opened."""
    for restarts in (False, True):
        trial.fresh() if restarts else trial.start()
        trial.put(IDS)
        if restarts:
            trial.stop()
        trial.damage(BAD, how)
        if restarts:
            trial.start()
        trial.exists(IDS)
        trial.get(IDS)
        new = [100, 101]
        trial.expect_all(new, trial.put(new), "not taken after the damage")
        trial.expect_all(new, trial.get(new), "stored after the damage, but not delivered")
        if restarts:
            trial.restart()
            trial.get(IDS)


def _flags_only(trial: Trial, ids: list[int]) -> list[bool]:
    """A get that does not mind the bad page's bytes: other cases ask for these."""
    assert trial.backend is not None
    _, out = trial.memory(len(ids))
    return list(map(bool, trial.backend.get([key(i) for i in ids], out, None)))
