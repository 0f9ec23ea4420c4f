"""From a policy to what is recorded of it, and back: the manifest stores names and parameters, never objects.

The policies of this package go by short names (``leveled``); any other class by where it can be imported from
(``mymod:MyPolicy``). Recording the latter never imports anything; opening the store does, unless a policy is given.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy
from lsmkv.policy.fifo import FIFO
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered

__all__ = ["describe_policy", "from_description", "load_policy"]

_WAY_OUT = "give one with Options(policy=...) to open the store with it"

_KNOWN: dict[str, Callable[..., Policy]] = {
    "leveled": Leveled,
    "tiered": Tiered,
    "lazy_leveling": LazyLeveling,
    "lazy": LazyLeveling,
    "fluid": Fluid,
    "fifo": FIFO,
}
"""``lazy`` is what people type; the store records ``lazy_leveling``."""


def describe_policy(policy: Policy) -> dict[str, object]:
    """Name and parameters, JSON-ready, name first: :func:`from_description` makes an equal policy of it.

    A policy without a ``describe`` of its own is named ``"module:Class"``; its parameters are the fields of its dataclass.
    Raises InvalidArgumentError for one that could not be found again: defined in a function, say, or in no dataclass but
    with parameters, or with parameters that JSON does not know.
    """
    cls = type(policy)
    own: Callable[[], dict[str, object]] | None = getattr(policy, "describe", None)
    if own is not None:
        described = own()
        if not isinstance(described, dict) or not isinstance(described.get("name"), str):
            raise InvalidArgumentError(f"describe() of {policy!r} gives {described!r}: must be a dict with a name")
        return _recordable(policy, described)
    if "<" in cls.__qualname__:
        raise InvalidArgumentError(f"the policy {policy!r} is defined inside a function: it cannot be recorded by name")
    parameters: dict[str, object] = {}
    if is_dataclass(policy):
        parameters = asdict(policy)
    elif getattr(policy, "__dict__", None):
        raise InvalidArgumentError(f"the policy {policy!r} has fields but is no dataclass: what they are cannot be recorded")
    return _recordable(policy, {"name": f"{cls.__module__}:{cls.__qualname__}", **parameters})


def _recordable(policy: Policy, described: dict[str, object]) -> dict[str, object]:
    """``described``, if what is read of it after it was written is the same (lists count as tuples)."""
    try:
        found: object = json.loads(json.dumps(described, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"the parameters of {policy!r} cannot be recorded: {error}") from error
    if _tuples(found) != _tuples(described):
        raise InvalidArgumentError(f"the parameters of {policy!r} cannot be recorded: they would be found again as {found!r}")
    return described


def from_description(description: Mapping[str, object]) -> Policy:
    """The policy that describes itself so: ``from_description(describe_policy(p)) == p``.

    An empty description (none was recorded) is the default, ``Leveled()``. Raises InvalidArgumentError for a name that
    leads to no policy or parameters it refuses; the message says how to open the store all the same.
    """
    if not description:
        return Leveled()
    parameters = {key: _tuples(value) for key, value in description.items() if key != "name"}
    name = description.get("name")
    try:
        build = load_policy(str(name))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"the store records the compaction policy {name!r}: {error}; {_WAY_OUT}") from error
    try:
        return build(**parameters)
    except Exception as error:  # whatever a class of somebody else raises when it does not like its parameters
        raise InvalidArgumentError(
            f"the store records the compaction policy {name!r} with parameters {parameters!r}, which it does not take "
            f"({error}); {_WAY_OUT}"
        ) from error


def _tuples(value: object) -> object:
    """A recorded parameter as policies have it: tuples for lists, at any depth."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


def load_policy(text: str) -> Callable[..., Policy]:
    """The class behind a name: a short one, or ``module:Class``, which is imported.

    Raises InvalidArgumentError if there is none, or if it is no policy.
    """
    module, colon, path = text.partition(":")
    if not colon:
        known = _KNOWN.get(text.lower().replace("-", "_"))
        if known is None:
            names = ", ".join(sorted(_KNOWN))
            raise InvalidArgumentError(f"no policy is called {text!r} (known: {names}; or module:Class)")
        return known
    try:
        found: object = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever a module of somebody else raises while it is imported
        raise InvalidArgumentError(f"cannot import the policy {text!r}: {error}") from error
    if not isinstance(found, type) or not callable(getattr(found, "pick", None)):
        raise InvalidArgumentError(f"{text!r} is no policy: it has to be a class with a method pick(shape)")
    return found
