"""From the name of a policy to what makes one: ``lru``, ``mq,lifetime=10000``, ``mymodule:MyEviction``.

A short name is one of this package's policies. ``module:Class`` is imported when it is asked for; the command searches the
current directory too. Parameters that follow are given to the class by name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.admission import Adaptive, AdmitAll, SecondSight
from lsmkv_tensor.retention.evictions import CountLru, Fifo, Lru
from lsmkv_tensor.retention.multiqueue import MultiQueue
from lsmkv_tensor.retention.protocol import Admission, Eviction

__all__ = ["ADMISSIONS", "EVICTIONS", "AdmissionMaker", "EvictionMaker", "load_admission", "load_eviction"]

EvictionMaker: TypeAlias = Callable[[int], Eviction]
"""Makes a policy for a capacity in bytes."""
AdmissionMaker: TypeAlias = Callable[[int, float | None], Admission]
"""Makes a policy for a capacity in bytes and a write budget in bytes a day (None: no limit)."""

EVICTIONS: dict[str, Callable[..., Eviction]] = {"fifo": Fifo, "lru": Lru, "countlru": CountLru, "mq": MultiQueue}
ADMISSIONS: dict[str, Callable[..., Admission]] = {"all": AdmitAll, "second": SecondSight, "adaptive": Adaptive}


def load_eviction(text: str) -> EvictionMaker:
    """What makes the eviction policy of this name; InvalidArgumentError if there is none or it is no such policy."""
    made: EvictionMaker = _load(text, "eviction", EVICTIONS, ("on_insert", "on_hit", "on_remove", "victims"))
    return made


def load_admission(text: str) -> AdmissionMaker:
    """What makes the admission policy of this name; InvalidArgumentError if there is none or it is no such policy."""
    made: AdmissionMaker = _load(text, "admission", ADMISSIONS, ("sight", "decide", "observe"))
    return made


def _load(text: str, kind: str, known: Mapping[str, Callable[..., Any]], methods: tuple[str, ...]) -> Callable[..., Any]:
    """The class of that name, its parameters bound."""
    name, *pairs = text.split(",")
    name = name.strip()
    parameters = _parameters(text, kind, pairs)
    given = 1 if kind == "eviction" else 2
    found = _imported(name, kind, methods) if ":" in name else known.get(name.lower().replace("_", "-"))
    if found is None:
        names = ", ".join(sorted(known))
        raise InvalidArgumentError(f"no {kind} policy is called {name!r} (known: {names}{', ' if names else ''}or module:Class)")
    _check_settings(found, f"{kind} policy {text!r}", parameters, given)
    return partial(_make, found, f"{kind} policy {text!r}", parameters)


def _check_settings(build: Callable[..., Any], what: str, parameters: Mapping[str, object], given: int) -> None:
    """InvalidArgumentError for parameters that the class does not take, or only among the first ``given``, the store's own."""
    try:
        takes = list(inspect.signature(build).parameters.values())
    except (TypeError, ValueError):  # a class that Python cannot look into says itself what it takes
        return
    if any(one.kind is one.VAR_KEYWORD for one in takes):
        return
    settings = [one.name for one in takes[given:] if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    unknown = [name for name in parameters if name not in settings]
    if unknown:
        known = f"its settings are {', '.join(settings)}" if settings else "it has no settings"
        raise InvalidArgumentError(f"{what}: there is no setting {', '.join(map(repr, unknown))} ({known})")


def _make(build: Callable[..., Any], what: str, parameters: Mapping[str, object], *given: object) -> object:
    """A policy; InvalidArgumentError if the class does not take its parameters."""
    try:
        return build(*given, **parameters)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{what} cannot be made: {error}") from error


def _parameters(text: str, kind: str, pairs: list[str]) -> dict[str, object]:
    """``name=value`` each, the values numbers where they look like it."""
    parameters: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name.isidentifier():
            raise InvalidArgumentError(f"{kind} policy {text!r}: {pair!r} should read parameter=value")
        if name in parameters:
            raise InvalidArgumentError(f"{kind} policy {text!r}: {name} is given twice")
        try:
            parameters[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[name] = value
    return parameters


def _imported(name: str, kind: str, methods: tuple[str, ...]) -> Callable[..., Any]:
    """The class behind ``module:Class``; InvalidArgumentError if it cannot be imported or is no policy."""
    module, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever a module of somebody else raises while it is imported
        raise InvalidArgumentError(f"cannot import the {kind} policy {name!r}: {error}") from error
    missing = [method for method in methods if not callable(getattr(found, method, None))]
    if not isinstance(found, type) or missing:
        raise InvalidArgumentError(f"{name!r} is no {kind} policy: it has to be a class with the methods {', '.join(methods)}")
    return found
