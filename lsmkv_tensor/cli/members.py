"""A root of members for the commands that look into stores: ``lsmkv stats ROOT``, ``verify ROOT``, ``tree ROOT``."""

from __future__ import annotations

from posixpath import join
from typing import Any, NoReturn

from lsmkv.cli.tools import StoreKind
from lsmkv.env.fs import FileSystem
from lsmkv.errors import LsmError
from lsmkv.observe.verify import Problem, VerifyReport
from lsmkv_tensor.cli.survey import report
from lsmkv_tensor.cli.verify_store import verify
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.sharing import members
from lsmkv_tensor.vlog.stamp import read_stamp

__all__ = ["ROOT"]

_SUMMED = ("pages", "live_bytes", "segments", "segment_file_bytes", "bytes")


def _is_root(fs: FileSystem, path: str) -> bool:
    """Whether ``path`` is no store, and has some in it. I/O: a listing, one stat a name."""
    return bool(members(fs, path)) and read_stamp(fs, path) is None


def _report(fs: FileSystem, path: str) -> dict[str, object]:
    """Every member's own report; one that cannot be read says why. I/O: reads each index once."""
    found: dict[str, Any] = {}
    for name in members(fs, path):
        try:
            found[name] = report(fs, join(path, name))
        except LsmError as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    totals = {what: sum(member.get(what, 0) for member in found.values()) for what in _SUMMED}
    return {"path": path, **totals, "members": found}


def _verify(fs: FileSystem, path: str) -> VerifyReport:
    """All members checked, one after the other. I/O: reads every file once, logs twice."""
    reports: list[VerifyReport] = []
    for name in members(fs, path):
        member = join(path, name)
        try:
            reports.append(verify(fs, member))
        except LsmError as error:
            reports.append(VerifyReport(member, 0, 0, 0, (Problem(member, -1, str(error)),), ()))
    return VerifyReport(
        path=path,
        files=sum(one.files for one in reports),
        bytes=sum(one.bytes for one in reports),
        entries=sum(one.entries for one in reports),
        problems=tuple(problem for one in reports for problem in one.problems),
        warnings=tuple(f"{one.path}: {warning}" for one in reports for warning in one.warnings),
    )


def _no_tree(path: str) -> NoReturn:
    """A root has no tree of its own: say where they are."""
    msg = f"{path} is a root of page stores, each with a tree of its own: name {join(path, 'MEMBER')} (`lsmkv stats` lists them)"
    raise InvalidArgumentError(msg)


def _parts(fs: FileSystem, path: str) -> list[str]:
    """The members' paths. I/O: a listing, one stat a name."""
    return [join(path, name) for name in members(fs, path)]


ROOT = StoreKind("root of page stores", _is_root, _no_tree, _report, _verify, None, parts=_parts)
"""Directories with members in them."""
