"""How the command speaks: results on standard output, one line about a failure on standard error.

With ``--json`` standard output holds one JSON document and nothing else, also when the command fails
(``{"error": {...}}``). Bytes are hexadecimal there. Exit codes: 0, 2 for whatever went wrong, 130 for Ctrl-C
(and 1 from ``get`` for a key that is not there).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from itertools import islice

import typer
from rich.console import Console

from lsmkv.errors import LsmError

__all__ = ["FAILED", "INTERRUPTED", "console", "emit_json", "emit_records", "guard", "plain"]

FAILED = 2
INTERRUPTED = 130
CLIP_BYTES = 48
"""Longer byte strings are cut short for people; JSON has them whole."""


def console() -> Console:
    """Standard output as rich sees it: colours only on a terminal."""
    return Console(highlight=False, soft_wrap=True)


@contextmanager
def guard(*, as_json: bool) -> Iterator[None]:
    """Turn failures of the store or the machine into one line and exit code 2; anything else is a bug and shows as one."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except (LsmError, OSError) as error:
        fail(error, as_json=as_json)


def fail(error: Exception, *, as_json: bool) -> None:
    """Say what went wrong and exit."""
    if as_json:
        with suppress(OSError):  # it may be standard output that failed
            emit_json({"error": _describe(error)})
    typer.echo(f"lsmkv: {' '.join(str(error).split())}", err=True)
    raise typer.Exit(FAILED) from None


def _describe(error: Exception) -> dict[str, object]:
    """An error as JSON: its kind, its message, and what it knows."""
    described: dict[str, object] = {"kind": type(error).__name__, "message": str(error)}
    for name in ("file", "offset", "what", "path", "op", "owner", "found", "known"):
        value = getattr(error, name, None)
        if isinstance(value, str | int):
            described[name] = value
    return described


def emit_json(value: object) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, default=_jsonable))


def emit_records(records: Iterable[Mapping[str, object]], *, as_json: bool, limit: int | None) -> None:
    """Records one by one, as they are read: a JSON array, or a line each for people."""
    shown = islice(records, limit) if limit is not None else records
    if not as_json:
        for record in shown:
            typer.echo(_line(record))
        return
    separator = "[\n"
    try:
        for record in shown:
            typer.echo(separator + json.dumps(record, default=_jsonable), nl=False)
            separator = ",\n"
    except (LsmError, OSError) as error:  # the array must end before the failure is told
        with suppress(OSError):
            typer.echo(separator + json.dumps({"error": _describe(error)}) + "\n]")
        fail(error, as_json=False)
    typer.echo("[]" if separator == "[\n" else "\n]")


def _line(record: Mapping[str, object]) -> str:
    """One record as one line: offset, kind, fields."""
    fields = [f"{name} {plain(value)}" for name, value in record.items() if name not in ("offset", "record")]
    return f"{record.get('offset', ''):>10}  {record.get('record', '')!s:<10}  {'  '.join(fields)}".rstrip()


def plain(value: object, *, whole: bool = False) -> str:
    """A value for people: numbers grouped, bytes as text where they are text, else in hexadecimal, cut short unless ``whole``."""
    match value:
        case bytes():
            shown = _bytes(value, len(value) if whole else CLIP_BYTES)
        case bool():
            shown = "yes" if value else "no"
        case int():
            shown = f"{value:,}"
        case float():
            shown = f"{value:.3g}"
        case list() | tuple():
            shown = "[" + ", ".join(plain(v) for v in value) + "]"
        case Mapping():
            shown = ", ".join(f"{name} {plain(v)}" for name, v in value.items())
        case _:
            shown = str(value)
    return shown


def _bytes(value: bytes, clip: int) -> str:
    """Bytes for people."""
    head = value[:clip]
    readable = all(32 <= byte < 127 for byte in head)
    shown = f"'{head.decode('ascii')}'" if readable else f"0x{head.hex()}"
    return shown if len(value) <= clip else f"{shown}... ({len(value):,} bytes)"


def _jsonable(value: object) -> object:
    """What JSON has no word for."""
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)
