"""Policies named on the command line: short names with parameters, or classes of the user's own.

A class of one's own lies where the command is run, more often than not: the current directory is searched first.
"""

from __future__ import annotations

import sys

from lsmkv.lab.numbers import policy_of
from lsmkv.policy.base import Policy

__all__ = ["chosen_policy", "search_here"]


def search_here() -> None:
    """Let policies be imported from the current directory, as Python itself does it for scripts."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def chosen_policy(text: str, **given: object) -> Policy:
    """The policy ``NAME[,PARAMETER=VALUE...]``, as :func:`lsmkv.lab.numbers.policy_of`, found in the current directory too.

    Raises InvalidArgumentError for a name that leads to no policy and for parameters it does not take.
    """
    search_here()
    return policy_of(text, **given)
