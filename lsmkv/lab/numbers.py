"""Numbers as people type them: ``1e7``, ``100k``, ``2.5M``, ``64MiB``; and policies: ``fluid,size_ratio=6,K=3/2,Z=1``."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from inspect import Parameter, signature

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy
from lsmkv.policy.registry import load_policy

__all__ = ["count_of", "policy_of", "size_of", "value_of"]

_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_SIZES = {
    "": 1, "b": 1, "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_NUMBER = re.compile(r"(\d[\d_,]*(?:\.\d+)?(?:e\+?\d{1,3})?)\s*([a-z]*)", re.IGNORECASE)


def count_of(name: str, text: str) -> int:
    """``text`` as a count: ``1e7``, ``100k``, ``2.5M``, ``10_000``. InvalidArgumentError names the option."""
    return _whole(name, text, _COUNTS, "a count such as 1e7, 100k or 2.5M")


def size_of(name: str, text: str) -> int:
    """``text`` as bytes: ``64MiB``, ``1e8``, ``2GB``. InvalidArgumentError names the option."""
    return _whole(name, text, _SIZES, "a size such as 64MiB, 2GB or 1e8")


def _whole(name: str, text: str, units: dict[str, int], example: str) -> int:
    """A number and its unit, as a whole number."""
    match = _NUMBER.fullmatch(text.strip())
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise InvalidArgumentError(f"{name} must be {example}, not {text!r}")
    value = Decimal(re.sub("[_,]", "", match[1])) * factor
    if value != value.to_integral_value():
        raise InvalidArgumentError(f"{name} must be a whole number, not {text!r}")
    return int(value)


def policy_of(text: str, **given: object) -> Policy:
    """The policy ``NAME[,PARAMETER=VALUE...]``: a short name, or ``module:Class``; ``given`` parameters (not None) add to it.

    Raises InvalidArgumentError for an unknown name for parameters the policy does not take, and for one that is given twice.
    """
    name, *pairs = text.split(",")
    parameters = {parameter: value for parameter, value in given.items() if value is not None}
    for pair in pairs:
        parameter, equals, value = pair.partition("=")
        if not equals or not parameter.strip():
            raise InvalidArgumentError(f"policy {text!r}: {pair!r} should read parameter=value")
        if parameter.strip() in parameters:
            raise InvalidArgumentError(f"policy {text!r}: {parameter.strip()} is given twice")
        parameters[parameter.strip()] = value_of(value.strip())
    build = load_policy(name.strip())
    try:
        return build(**parameters)
    except TypeError as error:
        takes = ", ".join(str(p).partition(":")[0] + (" (needed)" if p.default is p.empty else "") for p in _parameters(build))
        was = ", ".join(parameters) or "nothing"
        raise InvalidArgumentError(f"policy {name.strip()!r} takes {takes or 'no parameters'}; it was given {was}") from error


def _parameters(build: Callable[..., Policy]) -> list[Parameter]:
    """What a policy's class is called with."""
    return list(signature(build).parameters.values())


def value_of(text: str) -> object:
    """A parameter's value: ``None``, a number with or without a unit, numbers between slashes (a tuple), or text."""
    if text.lower() == "none":
        return None
    if "/" in text:
        return tuple(value_of(part) for part in text.split("/") if part)
    match = _NUMBER.fullmatch(text)
    factor = _SIZES.get(match[2].lower()) if match else None
    if match is None or factor is None:
        return text
    value = Decimal(re.sub("[_,]", "", match[1])) * factor
    return int(value) if value == value.to_integral_value() else float(value)
