"""The file in which a machine's prices lie: what ``lsmkv calibrate`` writes, and ``lsmkv explain`` and ``best_shape`` use.

One JSON object: ``version``, ``made`` (wall time), ``seconds`` (the prices), ``mean_error`` and ``worst_error`` of the fit, and
``machine``, text for people. It is replaced whole, by a rename, so a reader sees the old or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from posixpath import dirname

from lsmkv.cost.fit import Fitted
from lsmkv.cost.seconds import Seconds
from lsmkv.env.fs import FileSystem, make_durable_dir, read_exact, write_all
from lsmkv.env.home import cache_directory
from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import CorruptionError, FormatTooNewError, InvalidArgumentError, io_failed

__all__ = ["calibration", "calibration_path", "save_calibration"]

VERSION = 1
FILE_NAME = "calibration.json"
MOST_BYTES = 1 << 20


def calibration_path() -> str:
    """Where prices lie unless somebody says otherwise: ``calibration.json`` in the user's cache directory. I/O: none."""
    return f"{cache_directory()}/{FILE_NAME}"


def calibration(path: str | None = None, *, fs: FileSystem | None = None) -> Seconds | None:
    """The prices of this machine; None if it was never calibrated (``path`` None: there is no file at the usual place).

    Raises InvalidArgumentError if there is no file at a ``path`` that was named, CorruptionError if it holds no prices,
    FormatTooNewError, IOFailedError.

    I/O: reads one small file.
    """
    files, at = fs if fs is not None else PosixFileSystem(), path if path is not None else calibration_path()
    try:
        if not files.exists(at):
            if path is None:
                return None
            raise InvalidArgumentError(f"{at} does not exist: `lsmkv calibrate --file {at}` makes it")
        file = files.open(at)
        try:
            data = read_exact(file, min(files.size(at), MOST_BYTES), 0)
        finally:
            file.close()
    except OSError as error:
        raise io_failed("read", at, error) from error
    try:
        told = json.loads(data)
    except ValueError as error:
        raise CorruptionError(at, 0, f"not JSON ({error}); `lsmkv calibrate` makes it anew") from error
    return _prices(at, told)


def _prices(path: str, told: object) -> Seconds:
    """The prices that a record holds."""
    if not isinstance(told, Mapping) or not isinstance(told.get("version"), int) or not isinstance(told.get("seconds"), Mapping):
        raise CorruptionError(path, 0, "no record of prices; `lsmkv calibrate` makes it anew")
    if told["version"] > VERSION:
        raise FormatTooNewError(path, told["version"], VERSION)
    known = {field.name for field in fields(Seconds)}
    try:
        return Seconds(**{name: value for name, value in told["seconds"].items() if name in known})
    except InvalidArgumentError as error:
        raise CorruptionError(path, 0, f"{error}; `lsmkv calibrate` makes it anew") from error


def save_calibration(
    fitted: Fitted, path: str | None = None, *, made_s: float, machine: str = "", fs: FileSystem | None = None
) -> str:
    """Write down what a fit found; the path of the file. ``made_s``: wall time.

    Raises IOFailedError; the file that was there is then still there.

    I/O: writes and renames one small file, syncs it.
    """
    files, at = fs if fs is not None else PosixFileSystem(), path if path is not None else calibration_path()
    record = {
        "version": VERSION,
        "made": made_s,
        "machine": machine,
        "seconds": asdict(fitted.seconds),
        "mean_error": fitted.mean_error,
        "worst_error": fitted.worst_error,
    }
    fresh = f"{at}.new"
    try:
        make_durable_dir(files, dirname(at) or ".")
        if files.exists(fresh):  # left behind by one that was interrupted
            files.unlink(fresh)
        file = files.open(fresh, "create")
        try:
            write_all(file, [json.dumps(record, indent=2).encode() + b"\n"], 0)
            file.sync()
        finally:
            file.close()
        files.rename(fresh, at)
        files.sync_dir(dirname(at) or ".")
    except OSError as error:
        raise io_failed("write", at, error) from error
    return at
