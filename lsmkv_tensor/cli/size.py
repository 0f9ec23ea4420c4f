"""``lsmkv size``: what a model's pages take, on what disk, at what speed they are worth it, and what they wear off."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lsmkv.cli.output import emit_json, guard
from lsmkv.observe.picture import human_bytes
from lsmkv_tensor.cli.sizes import bytes_of
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.sizing import KvShape, PageSize, capacity_for, dwpd, page_size, shape_of_config

__all__ = ["read_config", "size"]

Config = Annotated[
    str | None, typer.Argument(metavar="[CONFIG]", help="A transformers config.json, or the directory that holds it.")
]
Layers = Annotated[int | None, typer.Option(help="Layers that keep keys and values; instead of the config's.")]
KvHeads = Annotated[int | None, typer.Option(help="Heads of keys and values; instead of the config's.")]
HeadDim = Annotated[int | None, typer.Option(help="Elements of a head; instead of the config's.")]
Dtype = Annotated[str | None, typer.Option(help="Element type of the cache, such as bfloat16; instead of the config's.")]
PageTokens = Annotated[int, typer.Option(help="Tokens of a page.")]
Codec = Annotated[
    Literal["raw", "shuffle_zstd", "int8", "fp8"],
    typer.Option(help="How pages are stored; shuffle_zstd by the ratio of docs/codecs.md."),
]
Tokens = Annotated[int | None, typer.Option(help="Tokens to hold (of each session, with --sessions).")]
Sessions = Annotated[int, typer.Option(help="Sessions to hold that share nothing.")]
Prefill = Annotated[
    float | None, typer.Option("--prefill-tokens-per-s", metavar="TOKENS", help="How fast the model computes a prompt.")
]
Bandwidth = Annotated[str | None, typer.Option(metavar="SIZE", help="What the disk reads a second, such as 3GB.")]
Disk = Annotated[str | None, typer.Option(metavar="SIZE", help="The disk, such as 3.84TB.")]
WriteRate = Annotated[str | None, typer.Option(metavar="SIZE", help="Bytes of pages written a second, such as 50MB.")]
NewTokens = Annotated[
    float | None,
    typer.Option("--new-tokens-per-s", metavar="TOKENS", help="Instead of --write-rate: new tokens stored a second."),
]
Amplification = Annotated[float, typer.Option(help="Bytes written for a byte put: garbage collection writes survivors again.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output and nothing else.")]


def size(
    config: Config = None,
    layers: Layers = None,
    kv_heads: KvHeads = None,
    head_dim: HeadDim = None,
    dtype: Dtype = None,
    page_tokens: PageTokens = 64,
    codec: Codec = "raw",
    tokens: Tokens = None,
    sessions: Sessions = 1,
    prefill: Prefill = None,
    bandwidth: Bandwidth = None,
    disk: Disk = None,
    write_rate: WriteRate = None,
    new_tokens: NewTokens = None,
    write_amplification: Amplification = 1.0,
    as_json: Json = False,
) -> None:
    """Say how large a model's pages are, what disk they need, at which speed loading wins, and how they wear the disk."""
    with guard(as_json=as_json):
        shape = shape_of_config(read_config(config), layers=layers, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype)
        _positive(page_tokens=page_tokens, tokens=tokens, sessions=sessions, write_amplification=write_amplification)
        _positive(prefill_tokens_per_s=prefill, new_tokens_per_s=new_tokens)
        page = page_size(shape, page_tokens, codec)
        told: dict[str, Any] = {
            "model": asdict(shape),
            "page_tokens": page_tokens,
            "codec": codec,
            "token_bytes": shape.token_bytes,
            **asdict(page),
        }
        if tokens is not None:
            told["hold"] = _hold(page, page_tokens, tokens, sessions)
        if prefill is not None or bandwidth is not None:
            told["speed"] = _speed(page, page_tokens, prefill, bandwidth)
        if write_rate is not None or new_tokens is not None:
            told["wear"] = _wear(page, page_tokens, disk, write_rate, new_tokens, write_amplification)
        elif disk is not None:
            told["disk"] = _disk(page, page_tokens, disk)
        if as_json:
            emit_json(told)
        else:
            typer.echo("\n".join(_lines(shape, page, told)))


def read_config(config: str | None) -> dict[str, Any]:
    """The fields of a config.json; none without one."""
    if config is None:
        return {}
    file = Path(config)
    file = file / "config.json" if file.is_dir() else file
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}): a model's config.json, or the directory that holds it, is wanted"
        raise InvalidArgumentError(msg) from error
    except ValueError as error:
        msg = f"{file} is no JSON: {error}"
        raise InvalidArgumentError(msg) from error
    if not isinstance(fields, dict):
        msg = f"{file} is no JSON object"
        raise InvalidArgumentError(msg)
    return fields


def _positive(**options: float | None) -> None:
    """Refuse options below or at zero, by name."""
    for name, value in options.items():
        if value is not None and not value > 0:
            msg = f"--{name.replace('_', '-')} {value:g}: must be more than 0"
            raise InvalidArgumentError(msg)


def _hold(page: PageSize, page_tokens: int, tokens: int, sessions: int) -> dict[str, Any]:
    """What it takes to keep so many tokens; only whole pages are stored."""
    pages = tokens // page_tokens * sessions
    return {"tokens": tokens, "sessions": sessions, "pages": pages, "capacity_bytes": capacity_for(pages, page)}


def _disk(page: PageSize, page_tokens: int, disk: str) -> dict[str, Any]:
    """How many tokens fit on a disk."""
    disk_bytes = bytes_of(disk, "--disk")
    low, high = 0, disk_bytes // page.disk_bytes + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if capacity_for(middle, page) <= disk_bytes else (low, middle)
    return {"disk_bytes": disk_bytes, "pages": low, "tokens": low * page_tokens}


def _speed(page: PageSize, page_tokens: int, prefill: float | None, bandwidth: str | None) -> dict[str, Any]:
    """Loading against computing."""
    told: dict[str, Any] = {}
    token_bytes = page.stored_bytes / page_tokens
    if prefill is not None:
        told |= {"prefill_tokens_per_s": prefill, "break_even_bytes_per_s": token_bytes * prefill}
    if bandwidth is not None:
        read = bytes_of(bandwidth, "--bandwidth")
        told |= {"bandwidth_bytes_per_s": read, "load_tokens_per_s": read / token_bytes}
    if prefill is not None and bandwidth is not None:
        told["load_speedup"] = told["load_tokens_per_s"] / prefill
    return told


def _wear(
    page: PageSize, page_tokens: int, disk: str | None, write_rate: str | None, new_tokens: float | None, amplification: float
) -> dict[str, Any]:
    """How often a day the disk is written."""
    if disk is None:
        msg = "--disk is missing: writes per day are those of a whole disk"
        raise InvalidArgumentError(msg)
    if write_rate is not None and new_tokens is not None:
        msg = "--write-rate and --new-tokens-per-s: give one of them"
        raise InvalidArgumentError(msg)
    disk_bytes = bytes_of(disk, "--disk")
    if write_rate is not None:
        rate = float(bytes_of(write_rate, "--write-rate"))
    else:
        assert new_tokens is not None
        rate = new_tokens * page.disk_bytes / page_tokens
    return {
        "disk_bytes": disk_bytes,
        "put_bytes_per_s": rate,
        "write_amplification": amplification,
        "written_bytes_per_day": rate * amplification * 86_400,
        "dwpd": dwpd(rate * amplification, disk_bytes),
    }


def _lines(shape: KvShape, page: PageSize, told: dict[str, Any]) -> list[str]:
    """The same for people."""
    kind = f"{shape.kv_heads} x {shape.head_dim}" if shape.tensors == 2 else f"a latent of {shape.head_dim}"
    lines = [
        f"model      {shape.layers} layers, {kind} elements of {shape.dtype} per token and layer"
        + (" for keys and again for values" if shape.tensors == 2 else ""),
        f"token      {human_bytes(shape.token_bytes)}",
        f"page       {told['page_tokens']} tokens, {human_bytes(page.page_bytes)}",
    ]
    if page.stored_bytes != page.page_bytes:
        lines.append(f"stored     {human_bytes(page.stored_bytes)} as {told['codec']}")
    lines.append(f"on disk    {human_bytes(page.disk_bytes)} a page")
    if hold := told.get("hold"):
        each = f"{hold['sessions']:,} sessions of " if hold["sessions"] > 1 else ""
        capacity = human_bytes(hold["capacity_bytes"])
        lines.append(f"to hold    {each}{hold['tokens']:,} tokens: {hold['pages']:,} pages, capacity_bytes = {capacity}")
    if speed := told.get("speed"):
        if "break_even_bytes_per_s" in speed:
            lines.append(f"break-even {human_bytes(speed['break_even_bytes_per_s'])}/s: a disk that reads faster beats computing")
        if "load_tokens_per_s" in speed:
            factor = f", {speed['load_speedup']:.2g} times as fast as computing" if "load_speedup" in speed else ""
            lines.append(f"loading    {speed['load_tokens_per_s']:,.0f} tokens/s{factor}")
    if fits := told.get("disk"):
        lines.append(f"disk       {human_bytes(fits['disk_bytes'])} hold {fits['tokens']:,} tokens in {fits['pages']:,} pages")
    if wear := told.get("wear"):
        daily = human_bytes(wear["written_bytes_per_day"])
        lines.append(f"wear       {daily} written a day, {wear['dwpd']:.2g} disk writes per day (DWPD)")
    return lines
