"""What the owner of a server can do about a directory that its process cannot have."""

from __future__ import annotations

from lsmkv_tensor.errors import CorruptionError, FormatTooNewError, LockedError, LsmError, NoSpaceError

__all__ = ["told"]


def told(error: LsmError | OSError, directory: str) -> str:
    """What is wrong with the directory of a process, and what to do about it, in one line."""
    if isinstance(error, LockedError):
        who = f" by {error.owner}" if error.owner else ""
        return (
            f"{error.path} is open for writing{who}: end that process, or give this one another directory "
            '("on_conflict": "fresh", another member or another path)'
        )
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, FormatTooNewError):
        return f'{what}, take "on_conflict": "fresh", or remove {directory}: it is a cache'
    if isinstance(error, CorruptionError):
        repair = f"lsmkv repair {directory}/index"
        return f'{what}: remove {directory} (it is a cache), or repair its index ({repair}), or take "on_conflict": "fresh"'
    if isinstance(error, NoSpaceError):
        return f"{what}: make room there, or give another path"
    return f"{what}: it must be a directory that this process may write; lsmkv doctor {directory} says more"
