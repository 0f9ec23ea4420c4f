"""Refusing numbers that mean nothing: one sentence that names the argument, what it was and what it may be."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from numbers import Real
from typing import TypeVar

from lsmkv.errors import InvalidArgumentError

__all__ = ["able", "made_of", "number", "numbers", "same_length", "whole"]

Thing = TypeVar("Thing")


def number(name: str, value: object, low: float = 0.0, high: float = inf, *, above: bool = False) -> float:
    """``value`` as a float; refused unless it is a finite number from ``low`` (``above``: beyond it) to ``high``.

    Raises InvalidArgumentError.
    """
    if type(value) is float or type(value) is int or (isinstance(value, Real) and not isinstance(value, bool)):
        try:
            result = float(value)
        except OverflowError:
            result = inf
        if (low < result if above else low <= result) and result <= high and result != inf:
            return result
    raise InvalidArgumentError(f"{name} must be {_range(low, high, above=above)}, not {value!r}")


def whole(name: str, value: object, low: int, high: int | None = None) -> int:
    """``value`` as an int; refused unless it is a whole number from ``low`` to ``high`` (None: no limit).

    Raises InvalidArgumentError.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= low and (high is None or value <= high):
        return value
    limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
    raise InvalidArgumentError(f"{name} must be a whole number {limits}, not {value!r}")


def numbers(name: str, values: object, *, above: float = 0.0) -> list[float]:
    """``values`` as a list of finite floats, each greater than ``above``; one at least.

    Raises InvalidArgumentError; the message names the place of the number that is refused.
    """
    if isinstance(values, str | bytes) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        raise InvalidArgumentError(f"{name} must be a sequence of numbers, not {values!r}")
    result = [
        float(v) if (type(v) is int or type(v) is float) and above < v < _LARGE else number(f"{name}[{i}]", v, above, above=True)
        for i, v in enumerate(values)
    ]
    if not result:
        raise InvalidArgumentError(f"{name} is empty: at least one number is needed")
    return result


def made_of(name: str, value: Thing, kind: type[Thing], hint: str = "") -> Thing:
    """``value``, if it is of this kind; ``hint``: where one comes from.

    Raises InvalidArgumentError.
    """
    if isinstance(value, kind):
        return value
    raise InvalidArgumentError(f"{name} must be a {kind.__name__}{hint and f' ({hint})'}, not {value!r}")


def able(name: str, value: Thing, what: str, *methods: str) -> Thing:
    """``value``, if it is an object (not a class) with these methods; ``what`` it should be.

    Raises InvalidArgumentError.
    """
    if not isinstance(value, type) and all(callable(getattr(value, method, None)) for method in methods):
        return value
    hint = f": did you mean {value.__name__}()?" if isinstance(value, type) else ""
    raise InvalidArgumentError(f"{name} must be {what}, not {value!r}{hint}")


def same_length(name: str, values: Sequence[float], other: str, others: Sequence[float]) -> None:
    """Refuse two sequences that should go together and do not.

    Raises InvalidArgumentError.
    """
    if len(values) != len(others):
        raise InvalidArgumentError(f"{name} has {len(values)} numbers, {other} has {len(others)}: one for one is needed")


_LARGE = 1e300
"""Below it an int surely fits a float, so that the quick check may skip the careful one."""


def _range(low: float, high: float, *, above: bool) -> str:
    """A range in words."""
    least = f"a finite number {'greater than' if above else 'of at least'} {low:g}"
    return least if high == inf else f"{least}, at most {high:g}"
