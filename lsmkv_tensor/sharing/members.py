"""The directories under one root: ``ROOT/MEMBER`` is the page store that one process writes.

::

    ROOT/rank0/STORE, index/, vlog/       written by one process, followed by its siblings
    ROOT/rank1/...
    ROOT/anything without a STORE file    left alone

A member is told by its STORE file, so a directory that is just being made is no member yet. Nothing is written into ROOT
itself: who the members are is what the listing says, and a directory that is moved in or removed has joined or left.
"""

from __future__ import annotations

import re
from posixpath import join

from lsmkv.env.fs import FileSystem
from lsmkv_tensor.errors import InvalidArgumentError, io_failed

__all__ = ["MAX_MEMBERS", "checked_member", "member_path", "members"]

MAX_MEMBERS = 256
"""Members looked at under one root, the first by name: a listing costs one stat each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STORE = "STORE"


def checked_member(name: object) -> str:
    """``name`` if it can name a member, else InvalidArgumentError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"member {name!r}: must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise InvalidArgumentError(msg)
    return name


def member_path(fs: FileSystem, root: str, member: str) -> str:
    """The directory of a member. InvalidArgumentError if ``root`` is a store itself, IOFailedError. I/O: one stat."""
    if is_member(fs, root):
        msg = f"{root} is a page store of one process, not a root of members: open it without member=, or choose another root"
        raise InvalidArgumentError(msg)
    return join(root, checked_member(member))


def is_member(fs: FileSystem, path: str) -> bool:
    """Whether there is a page store at ``path``. I/O: one stat."""
    return fs.exists(join(path, _STORE))


def members(fs: FileSystem, root: str) -> list[str]:
    """Names of the members under ``root``, in order; none if there is no such directory. IOFailedError.

    I/O: one listing, one stat a name.
    """
    try:
        names = fs.listdir(root)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        op = "listing the members"
        raise io_failed(op, root, error) from error
    return [name for name in names if _NAME.fullmatch(name) and is_member(fs, join(root, name))][:MAX_MEMBERS]
