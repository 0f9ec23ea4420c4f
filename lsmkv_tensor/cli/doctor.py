"""``lsmkv doctor``: will this installation keep pages, find them again, and be worth it? What to set if not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lsmkv.cli.output import console, emit_json, guard
from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.cli.bars import bytes_bar
from lsmkv_tensor.cli.doctor_checks import ENGINES, Check, check_engines, check_hash, installed, setting
from lsmkv_tensor.cli.doctor_disk import (
    Speed,
    check_break_even,
    check_capacity,
    check_disk,
    in_the_way,
    measure,
    nearest_directory,
    no_break_even,
    store_bytes,
)
from lsmkv_tensor.cli.size import read_config
from lsmkv_tensor.cli.sizes import bytes_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.sizing import shape_of_config

__all__ = ["doctor"]

UNWELL = 1
MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}

Where = Annotated[str | None, typer.Argument(metavar="[PATH]", help="Where the cache is, or is to be. Nothing there is touched.")]
Engines = Annotated[list[str] | None, typer.Option("--engine", metavar="NAME", help=f"That must be there: {', '.join(ENGINES)}.")]
VllmHash = Annotated[str, typer.Option(metavar="NAME", help="vLLM's --prefix-caching-hash-algo.")]
LmcacheHash = Annotated[
    str | None,
    typer.Option(metavar="NAME", envvar="LMCACHE_PRE_CACHING_HASH_ALGORITHM", help="LMCache's pre_caching_hash_algorithm."),
]
Seed = Annotated[
    str | None, typer.Option(metavar="SEED", envvar="PYTHONHASHSEED", help="What the engine's processes have as PYTHONHASHSEED.")
]
Capacity = Annotated[str | None, typer.Option(metavar="SIZE", help="What the cache may take, such as 800GB.")]
Model = Annotated[str | None, typer.Option(metavar="CONFIG", help="A transformers config.json, or its directory.")]
TokenBytes = Annotated[str | None, typer.Option(metavar="SIZE", help="Bytes of one token's keys and values; instead of --model.")]
Prefill = Annotated[
    float | None, typer.Option("--prefill-tokens-per-s", metavar="TOKENS", help="How fast the model computes a prompt.")
]
Measure = Annotated[str, typer.Option(metavar="SIZE", help="Written and read to measure the disk.")]
NoMeasure = Annotated[bool, typer.Option("--no-measure", help="Do not measure the disk.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def doctor(
    path: Where = None,
    engines: Engines = None,
    vllm_hash: VllmHash = "sha256",
    lmcache_hash: LmcacheHash = None,
    python_hash_seed: Seed = None,
    capacity: Capacity = None,
    model: Model = None,
    token_bytes: TokenBytes = None,
    prefill: Prefill = None,
    measured: Measure = "256MiB",
    no_measure: NoMeasure = False,
    as_json: Json = False,
) -> None:
    """Check an installation: engine, its version, stable keys, the disk, and whether loading beats computing; say what to set.

    Exits with 1 if something will not work.
    """
    with guard(as_json=as_json):
        _check_names(engines or [])
        if path == "":
            msg = "PATH is empty: name the directory of the cache"
            raise InvalidArgumentError(msg)
        per_token = _token_bytes(model, token_bytes)
        if prefill is not None and not prefill > 0:
            msg = f"--prefill-tokens-per-s {prefill:g}: must be more than 0"
            raise InvalidArgumentError(msg)
        capacity_bytes = None if capacity is None else bytes_of(capacity, "--capacity")
        usable, checks = check_engines(engines or [])
        algorithms = {"vllm": vllm_hash, "lmcache": lmcache_hash}
        vllm = installed("vllm") is not None
        checks += [check_hash(engine, algorithms.get(engine.partition(" ")[0]), python_hash_seed, vllm=vllm) for engine in usable]
        speed: Speed | None = None
        if path is None:
            checks.append(Check("path", "note", "not looked at", "lsmkv doctor PATH, where the cache is to be"))
        else:
            more, speed = _disk(path, capacity_bytes, None if no_measure else bytes_of(measured, "--measured"), as_json=as_json)
            checks += more
            if speed is not None:
                checks += check_break_even(speed, per_token, prefill)
            elif per_token is not None or prefill is not None:
                checks.append(no_break_even())
        settings: dict[str, str] = {}
        if path is not None and not any(check.name == "path" and check.outcome == "bad" for check in checks):
            chosen = _capacity(path) if capacity_bytes is None else capacity_bytes
            small = check_capacity(chosen)
            checks += small
            settings = {} if small else {engine: setting(engine, str(Path(path).absolute()), chosen) for engine in usable}
        if as_json:
            told = {"ok": _well(checks), "checks": [asdict(check) for check in checks], "settings": settings}
            emit_json({**told, "speed": None if speed is None else asdict(speed)})
        else:
            _show(checks, settings)
        if not _well(checks):
            raise typer.Exit(UNWELL)


def _check_names(engines: list[str]) -> None:
    """Refuse an engine that there are no adapters for."""
    for engine in engines:
        if engine not in ENGINES:
            msg = f"--engine {engine}: there are adapters for {', '.join(ENGINES)}"
            raise InvalidArgumentError(msg)


def _token_bytes(model: str | None, given: str | None) -> int | None:
    """Bytes of a token, if anything says them."""
    if model is not None and given is not None:
        msg = "--model and --token-bytes: give one of them"
        raise InvalidArgumentError(msg)
    if given is not None:
        return bytes_of(given, "--token-bytes")
    return None if model is None else shape_of_config(read_config(model)).token_bytes


def _disk(path: str, capacity_bytes: int | None, total_bytes: int | None, *, as_json: bool) -> tuple[list[Check], Speed | None]:
    """What the disk below ``path`` is like, and its speed if it is to be measured."""
    fs, where, blocked = PosixFileSystem(), nearest_directory(path), in_the_way(path)
    if blocked is not None:
        return [Check("path", "bad", f"{blocked} is no directory: nothing can be kept there", "another path")], None
    checks, works = check_disk(fs, where, capacity_bytes, store_bytes(path))
    if not works or total_bytes is None:
        return checks, None
    if fs.free_bytes(where) < 3 * total_bytes:
        checks.append(Check("bandwidth", "note", "not measured: too little room", "--measured with a smaller size"))
        return checks, None
    with bytes_bar("measuring the disk", 2 * total_bytes, shown=not as_json) as advance:
        return checks, measure(where, total_bytes, advance)


def _capacity(path: str) -> int:
    """What a cache may take there: four fifths of what is free, or of stores already."""
    return int((PosixFileSystem().free_bytes(nearest_directory(path)) + store_bytes(path)) * 0.8)


def _well(checks: list[Check]) -> bool:
    """Whether nothing is bad."""
    return all(check.outcome != "bad" for check in checks)


def _show(checks: list[Check], settings: dict[str, Any]) -> None:
    """The same for people."""
    out = console()
    width = max(len(check.name) for check in checks)
    colours = {"ok": "green", "note": "yellow", "bad": "bold red"}
    for check in checks:
        out.print(f"[{colours[check.outcome]}]{MARKS[check.outcome]}[/] {check.name:{width}}  ", end="")
        out.print(check.found, markup=False)
        if check.advice is not None:
            out.print(f"     {'':{width}}  -> {check.advice}", markup=False)
    for engine, text in settings.items():
        out.print(f"\nto set for {engine}:\n  {text}", markup=False)
    bad, notes = (sum(check.outcome == outcome for check in checks) for outcome in ("bad", "note"))
    noted = f", with {notes} note{'s' if notes > 1 else ''}" if notes else ""
    told = f"{bad} of {len(checks)} checks {'are' if bad > 1 else 'is'} bad" if bad else "all is well" + noted
    out.print(f"\n{told}")
