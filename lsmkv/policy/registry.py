"""From a recorded description back to the policy: the manifest stores names and parameters, never objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy
from lsmkv.policy.leveled import Leveled

__all__ = ["from_description"]


def from_description(description: Mapping[str, object]) -> Policy:
    """The policy that describes itself so: ``from_description(p.describe()) == p``.

    An empty description (none was recorded) is the default, ``Leveled()``. Raises InvalidArgumentError for an unknown name
    or parameters the policy refuses; the message says how to open the store all the same.
    """
    if not description:
        return Leveled()
    parameters = dict(description)
    name = parameters.pop("name", None)
    build = _KNOWN.get(str(name))
    if build is None:
        known = ", ".join(sorted(_KNOWN))
        raise InvalidArgumentError(
            f"the store records the compaction policy {name!r}, which this version does not have (it has: {known}); "
            "give one with Options(policy=...) to open the store with it"
        )
    try:
        return build(**parameters)
    except TypeError as error:
        raise InvalidArgumentError(
            f"the store records the compaction policy {name!r} with parameters {parameters!r}, which it does not take "
            f"({error}); give one with Options(policy=...) to open the store with it"
        ) from error


_KNOWN: dict[str, Callable[..., Policy]] = {"leveled": Leveled}
