"""Workloads as YAML: read with the field named where something is wrong, and written so that they can be edited.

Only plain data is read (mappings, lists, numbers, text): no tag makes an object of it. A key given twice is refused, as
is one that is not known, with the known one that it resembles. Counts may have units: ``200k``, ``1e6``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.named import NAMED
from lsmkv.lab.numbers import count_of
from lsmkv.lab.workload import Mix, Phase, Workload, refuse

__all__ = ["find_workload", "parse_workload", "read_workload", "workload_of", "workload_yaml"]

COUNTS = frozenset({"load", "memtable_entries", "operations", "chain_keys", "batch_keys", "key_bytes", "value_bytes"})
"""Fields that take a count with a unit."""

Made = TypeVar("Made")

MOST_BYTES = 1 << 20
"""A longer file is no workload."""


def find_workload(name: str) -> Workload:
    """A workload that comes along (``ycsb-a``), or the one in a YAML file, by its path.

    Raises InvalidArgumentError for a name that is neither, and as :func:`read_workload`.

    I/O: reads the file.
    """
    known = NAMED.get(name.lower())
    if known is not None:
        return known
    if not Path(name).is_file():
        raise InvalidArgumentError(f"{name}: no such file, and no workload of this name comes along ({', '.join(NAMED)})")
    return read_workload(name)


def read_workload(file: str | Path) -> Workload:
    """The workload in a YAML file.

    Raises InvalidArgumentError naming file and field: unknown, out of range, or a mix that does not add up; and without PyYAML
    (extra ``lab``).

    I/O: reads the file.
    """
    path = Path(file)
    if path.stat().st_size > MOST_BYTES:
        raise InvalidArgumentError(f"{file}: is longer than {MOST_BYTES:,} bytes: that is no workload")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{file}: is no text in UTF-8 ({error})") from error
    try:
        return parse_workload(text, path.stem)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: {error}") from error


def parse_workload(text: str, name: str = "workload") -> Workload:
    r"""The workload that a YAML document describes; ``name``: what it is called if it does not say.

    Raises InvalidArgumentError as :func:`read_workload` does.

    >>> parse_workload("load: 1k\nphases: [{operations: 100, mix: {present: 1}}]").phases[0].operations
    100
    """
    yaml = need_yaml()
    try:
        data = yaml.load(text, Loader=_loader(yaml))
    except yaml.YAMLError as error:
        raise InvalidArgumentError(f"is no YAML of plain data: {' '.join(str(error).split())}") from error
    return workload_of(data, name)


def workload_of(data: object, name: str = "workload") -> Workload:
    """The workload that plain data describes (mappings, lists, numbers, text), as a file has it.

    Raises InvalidArgumentError naming the field.
    """
    given = {"name": name, **_known(Workload, data, "")}
    phases = given.get("phases")
    if not isinstance(phases, list) or not phases:
        raise refuse("phases", phases, "a list of at least one phase")
    given["phases"] = tuple(_phase(phase, f"phases[{i}]") for i, phase in enumerate(phases))
    return _built(Workload, given, "")


def workload_yaml(workload: Workload) -> str:
    """The workload as YAML that :func:`parse_workload` reads back. Raises InvalidArgumentError without PyYAML."""
    text: str = need_yaml().safe_dump(workload.to_dict(), sort_keys=False, default_flow_style=None, width=120)
    return text


def need_yaml() -> Any:  # noqa: ANN401 - an optional package without types
    """PyYAML; InvalidArgumentError where it is not installed."""
    try:
        return importlib.import_module("yaml")
    except ImportError as error:
        raise InvalidArgumentError("workload files need PyYAML: pip install 'lsmkv[lab]'") from error


def _loader(yaml: Any) -> Any:  # noqa: ANN401 - as above
    """PyYAML's loader of plain data, which takes no key twice."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc] # the base is only known when it is imported
        """See above."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: ANN401 - as above
            """A mapping whose keys are all different."""
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    problem = f"{key.value} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader


def _phase(data: object, where: str) -> Phase:
    """One phase."""
    given = _known(Phase, data, where)
    for needed in ("operations", "mix"):
        if needed not in given:
            raise InvalidArgumentError(f"{where}.{needed}: is missing")
    given["mix"] = _built(Mix, _known(Mix, given["mix"], f"{where}.mix"), where)
    scan = given.get("scan_entries")
    if isinstance(scan, int):
        given["scan_entries"] = (scan, scan)
    elif isinstance(scan, list) and len(scan) == 2:
        given["scan_entries"] = tuple(scan)
    elif scan is not None:
        raise refuse(f"{where}.scan_entries", scan, "a number, or the least and the most: [1, 100]")
    return _built(Phase, given, where)


def _known(kind: type[Any], data: object, where: str) -> dict[str, Any]:
    """The fields of a mapping, if all of them are known; counts as numbers."""
    at = f"{where}." if where else ""
    if not isinstance(data, Mapping):
        raise refuse(where or "a workload", data, "a mapping of fields to values")
    names = [one.name for one in fields(kind)]
    for key in data:
        if key not in names:
            near = get_close_matches(str(key), names, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
            raise InvalidArgumentError(f"{at}{key}: no such field; {hint}")
    given = {str(key): value for key, value in data.items()}
    for name in COUNTS & given.keys():
        if isinstance(given[name], str):
            given[name] = count_of(f"{at}{name}", given[name])
        elif isinstance(given[name], float) and given[name].is_integer():
            given[name] = int(given[name])
    if kind is Workload and "load" not in given:
        raise InvalidArgumentError("load: is missing (keys stored before the first phase; 0 is allowed)")
    return given


def _built(kind: Callable[..., Made], given: Mapping[str, Any], where: str) -> Made:
    """The record, its complaint with the place put before."""
    try:
        return kind(**given)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{where}.{error}" if where else str(error)) from error
